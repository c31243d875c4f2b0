/*
 * Mixed traffic on two replicas that reach an https upstream through a CONNECT proxy, and Redis without it, while the
 * proxy now and then answers 407 or 502, closes connections, or never answers. A day in seconds: answers are fresh for
 * 200 ms. `DAY_SECONDS=3600 npx tap --disable-coverage test/scenarios/outbound-proxy-day.test.ts` runs it for longer.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import type { OutboundProxyDouble, ProxyBehaviour } from '../support/outbound-proxy.ts'
import { startOutboundProxy } from '../support/outbound-proxy.ts'
import { build, Process } from '../support/process.ts'
import { TEST_KEY } from '../support/proxy.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { pathFor, request } from '../support/request.ts'
import { selfSigned } from '../support/self-signed.ts'
import { referenceStation } from '../support/stations.ts'
import { until } from '../support/until.ts'

const SECONDS = Number(process.env['DAY_SECONDS'] ?? 3)
const QUOTA = 1_000_000
/** How long the proxy fails, and then works. Each kind of failure comes once in three seconds, and rarely in a longer run. */
const BAD_MS = 120
const GOOD_MS = SECONDS > 10 ? 8_000 : 600
const STATIONS = Array.from({ length: 40 }, (_, i) => `station-${i}`)
const FILTERS = ['', '&connectorSet=Tesla', '&minPowerKW=50', '&minPowerKW=11&maxPowerKW=22']
const PASSWORD = 'pass-word'
const KINDS_OF_RESULTS = [
  'single: 200',
  'single: 502',
  'item: 200',
  'batch: 200',
  'stream: 200',
  'purge: 204',
]
/** What a lookup may end with while the proxy fails: nothing else is expected. */
const STATUSES = [200, 502, 503, 504]

const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))
const pick = <T>(values: readonly T[]): T => values[Math.floor(Math.random() * values.length)] as T

async function startUpstream(t: Test) {
  const identity = selfSigned()
  const folder = mkdtempSync(join(tmpdir(), 'evproxy-day-'))
  const caFile = join(folder, 'ca.pem')
  writeFileSync(caFile, identity.cert)
  const upstream = { port: 0, caFile, calls: 0, withKey: 0 }
  const server = createServer(identity, ({ url = '' }, response) => {
    upstream.calls++
    const { searchParams } = new URL(url, 'https://upstream')
    if (searchParams.get('key') === TEST_KEY) upstream.withKey++
    response.end(JSON.stringify(referenceStation(searchParams.get('chargingAvailability') ?? '')))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  upstream.port = (server.address() as AddressInfo).port
  return upstream
}

interface Replica {
  readonly service: Process
  readonly url: string
  readonly adminUrl: string
}

async function startReplica(t: Test, dir: string, environment: Record<string, string>): Promise<Replica> {
  const service = new Process(dir, {
    TOMTOM_API_KEY: TEST_KEY,
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
    CACHE_TTL: '200ms',
    CACHE_STALE_WHILE_REVALIDATE: '100ms',
    CACHE_STALE_IF_ERROR: '200ms',
    UPSTREAM_TIMEOUT: '400ms',
    UPSTREAM_SOFT_TIMEOUT: '200ms',
    UPSTREAM_MAX_QPS: '0',
    UPSTREAM_QUOTA: `${QUOTA}/day`,
    ...environment,
  })
  t.teardown(async () => {
    service.child.kill('SIGKILL')
    await service.exited
  })
  return { service, ...(await service.urls()) }
}

/** Counts by what was asked for and how it ended. */
class Seen {
  readonly counts = new Map<string, number>()

  add(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  /** Those of these results that did not come. */
  lacks(results: readonly string[]): string[] {
    return results.filter((what) => !this.counts.has(what))
  }

  /** The kinds of results that are not among those expected. */
  unexpected(expected: readonly string[]): string[] {
    return [...this.counts.keys()].filter((what) => !expected.includes(what))
  }
}

const isEmpty = (body: string) => /"connectors":\[\]|<connectors\/>|<connectors><\/connectors>/.test(body)

async function single({ url }: Replica, seen: Seen): Promise<void> {
  const filter = pick(FILTERS)
  const { status, text } = await request(
    url,
    pathFor(`chargingAvailability=${pick(STATIONS)}${filter}`, pick(['json', 'xml'])),
  )
  seen.add(status === 200 && filter === '' && isEmpty(text) ? 'single: an empty list' : `single: ${status}`)
}

async function batch({ url }: Replica, seen: Seen): Promise<void> {
  const batchItems = Array.from({ length: 5 }, () => ({
    query: `/chargingAvailability.json?chargingAvailability=${pick(STATIONS)}`,
  }))
  const headers = { 'content-type': 'application/json' }
  const path = '/search/2/batch/sync.json'
  const { status, text } = await request(url, path, {
    method: 'POST',
    headers,
    body: JSON.stringify({ batchItems }),
  })
  seen.add(`batch: ${status}`)
  const items = (JSON.parse(text) as { batchItems: { statusCode: number }[] }).batchItems
  for (const { statusCode } of items) seen.add(`item: ${statusCode}`)
}

async function stream({ url }: Replica, seen: Seen): Promise<void> {
  const ids = [pick(STATIONS), pick(STATIONS)].map((id) => `chargingAvailability=${id}`).join('&')
  const signal = AbortSignal.timeout(300 + Math.floor(Math.random() * 500))
  const response = await fetch(`${url}/events?${ids}`, { signal }).catch(() => null) // on a busy machine it may be late
  if (response === null) return
  seen.add(`stream: ${response.status}`)
  await response.text().catch(() => {})
}

async function purge({ adminUrl }: Replica, seen: Seen): Promise<void> {
  const path = pick([
    '/status/stations',
    `/status/station?id=${pick(STATIONS)}`,
    `/status/station?id=${pick(STATIONS)}`,
  ])
  seen.add(`purge: ${(await request(adminUrl, path, { method: 'DELETE' })).status}`)
}

const KINDS = [...Array.from({ length: 12 }, () => single), batch, batch, stream, purge]

async function user(replicas: readonly Replica[], seen: Seen, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await pick(KINDS)(pick(replicas), seen)
    await sleep(Math.random() * 30)
  }
}

/** Most of the time the proxy works: otherwise the circuit breaker stays open. */
async function misbehave(proxy: OutboundProxyDouble, isOver: () => boolean): Promise<void> {
  const behaviours: readonly ProxyBehaviour[] = [407, 502, 'close', 'hang']
  for (let i = 0; !isOver(); i++) {
    proxy.behaviour = behaviours[i % behaviours.length] as ProxyBehaviour
    proxy.cut()
    await sleep(BAD_MS)
    proxy.behaviour = 'tunnel'
    await sleep(GOOD_MS)
  }
  proxy.behaviour = 'tunnel'
}

async function metric({ adminUrl }: Replica, name: string): Promise<number> {
  const { text } = await request(adminUrl, '/metrics')
  return Number(new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (.+)$`, 'm').exec(text)?.[1])
}

await t.test('a day behind an outbound proxy that now and then fails', { skip: NO_REDIS }, async (t) => {
  const dir = await build()
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const [upstream, redis, proxy] = await Promise.all([
    startUpstream(t),
    RedisServer.start(t),
    startOutboundProxy(t),
  ])
  const environment = {
    TOMTOM_BASE_URL: `https://localhost:${upstream.port}`,
    NODE_EXTRA_CA_CERTS: upstream.caFile,
    HTTPS_PROXY: `http://user:${PASSWORD}@127.0.0.1:${proxy.port}`,
    HTTP_PROXY: proxy.url,
    NO_PROXY: '127.0.0.1,redis.example',
    REDIS_URL: redis.url,
  }
  const replicas = await Promise.all([startReplica(t, dir, environment), startReplica(t, dir, environment)])
  const seen = new Seen()
  const startedAt = performance.now()
  /** On a busy machine it takes longer until each kind of request has come. */
  const isOver = () => {
    const seconds = (performance.now() - startedAt) / 1_000
    return seconds > SECONDS && (seen.lacks(KINDS_OF_RESULTS).length === 0 || seconds > SECONDS + 60)
  }
  const users = Array.from({ length: 6 }, () => user(replicas, seen, isOver))
  await Promise.all([misbehave(proxy, isOver), ...users])

  if ('DAY_SECONDS' in process.env) console.error(Object.fromEntries(seen.counts))
  const lookups = STATUSES.flatMap((status) => [`single: ${status}`, `item: ${status}`])
  t.strictSame(seen.unexpected([...lookups, 'batch: 200', 'stream: 200', 'purge: 204']), [])
  t.strictSame(seen.lacks(KINDS_OF_RESULTS), [], 'all kinds of requests, and failures')

  t.strictSame(
    new Set(proxy.heads.map((head) => head.split(' ')[1])),
    new Set([`localhost:${upstream.port}`]),
    'no Redis',
  )
  t.strictSame([upstream.calls > 0, upstream.withKey], [true, upstream.calls], 'upstream gets the key')
  t.notMatch(proxy.heads.join('') + proxy.sent, TEST_KEY, 'and the proxy does not')
  t.notMatch(
    replicas.map(({ service }) => service.stdout + service.stderr).join(''),
    new RegExp(`${PASSWORD}|${TEST_KEY}`),
  )

  await until('the last calls have ended', async () =>
    (await Promise.all(replicas.map((one) => metric(one, 'evproxy_upstream_in_flight')))).every(
      (count) => count === 0,
    ),
  )
  await sleep(1_100) // each replica reads the count once a second
  const spent =
    QUOTA - Math.min(...(await Promise.all(replicas.map((one) => metric(one, 'evproxy_quota_remaining')))))
  t.ok(spent >= upstream.calls, `${spent} charged, ${upstream.calls} arrived`)
  // A command to Redis without a reply in time is counted on both sides.
  const hasLostRedis = replicas.some(({ service }) => service.stdout.includes('shared cache unavailable'))
  t.ok(
    hasLostRedis || spent <= upstream.calls + proxy.cutTunnels,
    `${spent} charged, ${upstream.calls} arrived, ${proxy.cutTunnels} cut off`,
  )
  const ask = async ({ url }: Replica) =>
    (await request(url, pathFor('chargingAvailability=at-the-end'))).status
  await until('both answer again', async () =>
    (await Promise.all(replicas.map(ask))).every((status) => status === 200),
  )
})
