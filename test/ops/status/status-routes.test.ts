import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { CACHE_RESULTS, UPSTREAM_OUTCOMES } from '../../../src/events.ts'
import { PAGE_FILES } from '../../../src/ops/status/page-files.ts'
import type { StatusReport } from '../../../src/ops/status/status.ts'
import { CONTENT_SECURITY_POLICY } from '../../../src/ops/status/status-routes.ts'
import type { Fault } from '../../../src/simulator/fault-document.ts'
import { startSimulator } from '../../../src/simulator/server.ts'
import { readExposition } from '../../support/exposition.ts'
import type { Proxy } from '../../support/proxy.ts'
import { startProxy, TEST_KEY } from '../../support/proxy.ts'
import { answerStation, answerStatus } from '../../support/scripted-upstream.ts'
import { perCall } from '../../support/scripts.ts'
import type { Service } from '../../support/service.ts'
import { startService } from '../../support/service.ts'
import { until } from '../../support/until.ts'

async function statusOf({ adminUrl }: Proxy, since = ''): Promise<StatusReport> {
  return (await fetch(`${adminUrl}/status?since=${since}`)).json() as Promise<StatusReport>
}

await t.test('GET /status', async (t) => {
  await t.test('the status has the state, the totals and the limits', async (t) => {
    const service = await startService(t, { env: { UPSTREAM_QUOTA: '2500/day', UPSTREAM_MAX_QPS: '50' } })
    for (const id of ['a', 'a', 'a', 'b']) await service.get(`chargingAvailability=${id}`)
    const status = await statusOf(service.proxy)
    t.match(status, {
      version: '0.0.0-test',
      phase: 'ready',
      upstream: { circuit: 'closed', refusal: null, callsPerSecond: 50, inFlight: 0, queued: 0 },
      totals: { lookups: 4, calls: 2, heldRatio: 0.5, callsSaved: 2, results: { hit: 2, miss: 2 } },
      cache: { entries: 2, ttlMs: 30_000 },
      quota: { limit: 2_500, remaining: 2_498 },
    })
    t.ok(status.upstream.latency.p50Ms !== null && status.memory.heapUsedBytes > 0)
    t.ok(
      status.cache.effectiveTtlMs >= 30_000,
      'pacing only extends it, by how much depends on the time passed',
    )
  })

  await t.test('docs/runbooks.md describes every member of the status, and no other', async (t) => {
    const runbooks = readFileSync(new URL('../../../docs/runbooks.md', import.meta.url), 'utf8')
    const [, table = ''] = /^## The shape of \/status\n([^]*?)^## /m.exec(runbooks) ?? []
    const cells = [...table.matchAll(/^\| (`[^|]*) \|/gm)].map(([, cell = '']) => cell)
    const documented = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name))
    const { proxy } = await startService(t)
    t.strictSame(new Set(documented), new Set(Object.keys(await statusOf(proxy))))
  })

  await t.test('the status has null for limits that are not configured', async (t) => {
    const { proxy } = await startService(t)
    t.match(await statusOf(proxy), { quota: null, upstream: { callsPerSecond: null } })
  })

  await t.test('the status has a rejection by upstream with its diagnosis', async (t) => {
    const service = await startService(t, { script: answerStatus(403) })
    await service.get('chargingAvailability=a')
    const { upstream, now } = await statusOf(service.proxy)
    t.match(upstream.refusal, { status: 403, diagnosis: /TOMTOM_API_KEY/ })
    t.ok((upstream.refusal?.until ?? 0) > now)
  })

  await t.test('the status has the phase draining while the service drains', async (t) => {
    const { proxy } = await startService(t, { env: { DRAIN_DELAY: '300ms' } })
    const stopped = proxy.stop()
    t.equal((await statusOf(proxy)).phase, 'draining')
    await stopped
  })

  await t.test('a status with a cursor has only what is new', async (t) => {
    const service = await startService(t, { script: answerStatus(500) })
    await service.get('chargingAvailability=a')
    await service.get('minPowerKW=1')
    const first = await statusOf(service.proxy)
    t.equal(first.failures.length, 1)
    t.equal(first.refused.length, 1)
    const second = await statusOf(service.proxy, first.cursor)
    t.strictSame([second.failures, second.refused], [[], []])
    t.strictSame(second.counts, { failures: 1, refused: 1 })
    t.ok(second.history.seconds.rows.length <= 1)
  })

  await t.test(
    'the status lists failures and client errors separately, and both are found by Tracking-ID',
    async (t) => {
      const service = await startService(t, { script: answerStatus(500) })
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      await service.get('chargingAvailability=a', { headers: { 'tracking-id': 'failed-1', traceparent } })
      await service.get('chargingAvailability=a&minPowerKW=x', { headers: { 'tracking-id': 'invalid-1' } })
      const { failures, refused } = await statusOf(service.proxy)
      t.match(failures, [
        { trackingId: 'failed-1', station: 'a', code: 'UpstreamFailed', reason: 'upstream answered 500' },
      ])
      t.match(refused, [{ trackingId: 'invalid-1', station: null, reason: /minPowerKW/ }])
      const find = async (id: string) =>
        JSON.parse((await service.requestAdmin(`/status/requests?trackingId=${id}`)).text)
      t.match(await find('failed-1'), { requests: [{ traceId: '0af7651916cd43dd8448eb211c80319c' }] })
      t.match(await find('invalid-1'), { requests: [{ status: 400 }] })
      t.strictSame(await find('unknown'), { requests: [] })
      t.strictSame(JSON.parse((await service.requestAdmin('/status/requests')).text), { requests: [] })
    },
  )

  await t.test('the status never contains the API key, even if a client sends it as an id', async (t) => {
    const service = await startService(t, { script: answerStatus(500) })
    await service.get(`chargingAvailability=${TEST_KEY}`)
    const { text } = await service.requestAdmin('/status')
    t.notMatch(text, TEST_KEY)
    t.equal((JSON.parse(text) as StatusReport).failures[0]?.station, '[redacted]')
  })
})

async function postStation({ requestAdmin }: Service, body: string, type = 'application/json') {
  const { status, text } = await requestAdmin('/status/station', {
    method: 'POST',
    body,
    headers: { 'content-type': type },
  })
  return { ...(JSON.parse(text) as { answer?: unknown; error?: unknown }), status }
}

await t.test('the station lookup', async (t) => {
  const script = perCall(({ id }) => (id === 'failing' ? answerStatus(500) : answerStation))
  const service = await startService(t, { script })
  const peek = async (id: string) => {
    const { text } = await service.requestAdmin(`/status/station?id=${encodeURIComponent(id)}`)
    return JSON.parse(text) as { answer: { ageMs: number; ttlMs: number; availability: unknown } | null }
  }

  await t.test('GET /status/station returns the cached answer and is no lookup', async (t) => {
    t.equal((await peek('a')).answer, null)
    t.equal(service.upstream.calls.length, 0)
    const sent = JSON.parse((await service.get('chargingAvailability=a')).text) as unknown
    const before = (await statusOf(service.proxy)).totals
    const { answer } = await peek('a')
    t.strictSame(answer?.availability, sent)
    t.ok((answer?.ageMs ?? -1) >= 0 && (answer?.ttlMs ?? 0) > 0)
    t.strictSame((await statusOf(service.proxy)).totals, before, 'no lookup and no call is counted')
  })

  await t.test('GET /status/station does not protect an entry from eviction', async (t) => {
    const small = await startService(t, { env: { CACHE_MAX_ENTRIES: '2' } })
    for (const id of ['a', 'b']) await small.get(`chargingAvailability=${id}`)
    await small.requestAdmin('/status/station?id=a')
    await small.get('chargingAvailability=c')
    t.match(
      JSON.parse((await small.requestAdmin('/status/station?id=a')).text),
      { answer: null },
      'the oldest entry was evicted',
    )
  })

  await t.test('POST /status/station loads the answer as for a client', async (t) => {
    const calls = service.upstream.calls.length
    t.match(await postStation(service, '{"id":"b"}'), {
      status: 200,
      answer: { availability: { chargingAvailability: 'b' } },
    })
    t.match(await postStation(service, '{"id":"b"}'), { answer: { availability: {} } })
    t.equal(service.upstream.calls.length, calls + 1)
  })

  await t.test('POST /status/station returns the error that a client would get', async (t) => {
    t.match(await postStation(service, '{"id":"failing"}'), {
      answer: null,
      error: { code: 'UpstreamFailed', status: 502, reason: 'upstream answered 500' },
    })
  })

  await t.test('POST /status/station validates the id as for a client', async (t) => {
    const post = (id: string) => postStation(service, JSON.stringify({ id }))
    const invalid = await Promise.all(['', 'x'.repeat(129), 'a\u0000b'].map(post))
    t.match(
      invalid,
      invalid.map(() => ({ answer: null, error: { status: 400 } })),
    )
    const valid = await Promise.all(['=&%', 'a b+c', '<b>', '${x}', '\ud800'].map(post))
    t.strictSame(
      valid.map(({ status }) => status),
      valid.map(() => 200),
    )
  })

  await t.test('POST /status/station takes JSON alone, which needs a CORS preflight', async (t) => {
    const calls = service.upstream.calls.length
    const bodies = [
      ['{"id":"c"}', 'text/plain'],
      ['id=c', 'application/x-www-form-urlencoded'],
      ['["c"]', 'application/json'],
      ['{"id":1}', 'application/json'],
      ['{', 'application/json'],
    ] as const
    const answers = await Promise.all(bodies.map(([body, type]) => postStation(service, body, type)))
    t.strictSame(
      answers.map(({ status }) => status >= 400 && status < 500),
      bodies.map(() => true),
    )
    const { status } = await service.requestAdmin('/status/station', { method: 'OPTIONS' })
    t.equal(status, 405, 'a preflight fails')
    t.equal(service.upstream.calls.length, calls)
  })
})

await t.test('the files of the status page', async (t) => {
  const { requestAdmin, request: askPublic } = await startService(t)
  for (const { path, type } of PAGE_FILES) {
    await t.test(`${path} is served by the admin listener with security headers`, async (t) => {
      const { status, headers, body } = await requestAdmin(path)
      t.equal(status, 200)
      t.equal(headers['content-type'], type)
      t.ok(body.length > 0)
      t.equal(headers['content-security-policy'], CONTENT_SECURITY_POLICY)
      t.equal(headers['x-content-type-options'], 'nosniff')
      t.equal((await askPublic(path)).status, 404, 'not by the public listener')
    })
  }

  await t.test('the content security policy allows neither other origins nor inline code', async (t) => {
    t.match(CONTENT_SECURITY_POLICY, /^default-src 'none';/)
    t.notMatch(CONTENT_SECURITY_POLICY, /unsafe|\*|http|data:/)
    const html = (await requestAdmin('/')).text
    t.notMatch(html, /<style|style=|\son\w+=|<script(?![^>]*\ssrc=)|\/\/(?!\/)/)
  })

  await t.test('no other file is served', async (t) => {
    const paths = [
      '/page/',
      '/page/package.json',
      '/page/../status.ts',
      '/page/%2e%2e/status.ts',
      '/page/uplot',
    ]
    const answers = await Promise.all(paths.map((path) => requestAdmin(path)))
    t.strictSame(
      answers.map(({ status }) => status),
      paths.map(() => 404),
    )
  })
})

/** The pause before a second attempt is shorter. */
const MAX_PAUSE_MS = 300

const FAULTS: readonly Fault[] = [
  { outcome: 'status', status: 500 },
  { outcome: 'status', status: 503 },
  { outcome: 'status', status: 400 },
  { outcome: 'status', status: 404 },
  { outcome: 'status', status: 429, retryAfter: 1 },
  { outcome: 'status', status: 403, retryAfter: 1 },
  { outcome: 'hang' },
  { outcome: 'reset' },
  { outcome: 'truncate' },
  { outcome: 'html' },
  { outcome: 'wrong-id' },
  { outcome: 'null' },
  { outcome: 'redirect' },
  { latencyMs: 20 },
]

await t.test('the totals under faults of upstream', async (t) => {
  const seen = new Set<string>()
  for (const fault of FAULTS) {
    await t.test(`the totals and the metrics agree under ${JSON.stringify(fault)}`, async (t) => {
      const simulator = await startSimulator({ random: everyOther() })
      const proxy = await startProxy(simulator.url, {
        CACHE_TTL: '20ms',
        CACHE_STALE_WHILE_REVALIDATE: '20ms',
        CACHE_STALE_IF_ERROR: '200ms',
        UPSTREAM_TIMEOUT: '1s',
        UPSTREAM_SOFT_TIMEOUT: '40ms',
        UPSTREAM_MAX_CONNECTIONS: '200',
      })
      t.teardown(async () => {
        await proxy.stop()
        await simulator.close()
      })
      const lookups = await sendMixed(proxy, () => simulator.setFaults({ ...fault, probability: 0.5 }))
      await quiet(proxy)

      const metrics = readExposition(await (await fetch(`${proxy.adminUrl}/metrics`)).text())
      const { totals } = await statusOf(proxy)
      t.equal(totals.lookups, lookups, 'results add up to lookups')
      const { timeout = 0, network = 0 } = totals.outcomes
      const unseen = totals.calls - simulator.calls
      t.ok(
        unseen >= 0 && unseen <= timeout + network,
        'outcomes add up to calls, but for those that never arrived',
      )
      const lookupsBy = (result: string) => metrics.value('evproxy_cache_requests_total', { result })
      t.strictSame(
        totals.results,
        Object.fromEntries(CACHE_RESULTS.map((result) => [result, lookupsBy(result)])),
      )
      const callsBy = (outcome: string) => metrics.value('evproxy_upstream_requests_total', { outcome })
      t.strictSame(
        totals.outcomes,
        Object.fromEntries(UPSTREAM_OUTCOMES.map((outcome) => [outcome, callsBy(outcome)])),
      )
      for (const outcome of UPSTREAM_OUTCOMES) if (totals.outcomes[outcome] !== 0) seen.add(outcome)
    })
  }
  t.ok(seen.size >= 9, `at least nine outcomes occurred: ${[...seen].join(', ')}`)
})

/** Resolves when no call is in flight and none waits for its second attempt. */
async function quiet(proxy: Proxy): Promise<void> {
  let calls = -1
  await until('all calls are over', async () => {
    const { upstream, totals } = await statusOf(proxy)
    const isOver = upstream.inFlight === 0 && totals.calls === calls
    calls = totals.calls
    if (!isOver) await wait(MAX_PAUSE_MS)
    return isOver
  })
}

/** A random source with which a fault of probability 0.5 affects every other call. */
function everyOther(): () => number {
  let calls = 0
  return () => (calls++ % 2 === 0 ? 0 : 0.9)
}

/** Sends rounds of concurrent requests, the first without faults. Returns the number of lookups. */
async function sendMixed(proxy: Proxy, startFaults: () => void): Promise<number> {
  const rounds = 4
  const atOnce = 16
  for (let round = 0; round < rounds; round++) {
    const ids = Array.from({ length: atOnce }, (_, i) => `s${(i * 7 + round) % 12}`)
    await Promise.all(ids.map(async (id) => (await proxy.get(`chargingAvailability=${id}`)).arrayBuffer()))
    await (await proxy.get('chargingAvailability=a&minPowerKW=x')).arrayBuffer() // not a lookup
    startFaults()
  }
  return rounds * atOnce
}

await t.test(
  'a scrape and a status report under load block the event loop for less than 10 ms',
  async (t) => {
    const { proxy } = await startService(t, { env: { UPSTREAM_QUOTA: '2500/day' } })
    const ids = Array.from({ length: 200 }, (_, i) => `s${i}`)
    for (const id of ids) await (await proxy.get(`chargingAvailability=${id}`)).arrayBuffer()
    await Promise.all(ids.map(async (_, i) => (await proxy.get(`minPowerKW=${i}`)).arrayBuffer()))

    const over = new AbortController()
    const load = Array.from({ length: 4 }, async (_, client) => {
      for (let i = client; !over.signal.aborted; i++) {
        await (await proxy.get(`chargingAvailability=s${i % 200}`)).arrayBuffer()
      }
    })
    const delays = { '/metrics': [] as number[], '/status': [] as number[] }
    for (let round = 0; round < 15; round++) {
      for (const [path, measured] of Object.entries(delays))
        measured.push(await longestDelay(proxy.adminUrl + path))
    }
    over.abort()
    await Promise.all(load)
    // Other processes of this machine can only add to a delay, so the shortest is closest to that of the service.
    const slow = Object.entries(delays).filter(([, measured]) => Math.min(...measured) >= 10)
    t.strictSame(slow, [])
  },
)

/**
 * The longest delay of the event loop during a request, in ms. The loop is never idle under this load, so time without
 * CPU was taken by other processes; the delay is scaled down by that share.
 */
async function longestDelay(url: string): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const startedAt = performance.now()
  const before = process.cpuUsage()
  delay.enable()
  await (await fetch(url)).text()
  delay.disable()
  const { user, system } = process.cpuUsage(before)
  const ownShare = (user + system) / 1_000 / (performance.now() - startedAt)
  return (delay.max / 1e6) * Math.min(1, ownShare)
}
