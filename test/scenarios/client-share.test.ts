import t from 'tap'
import { readExposition } from '../support/exposition.ts'
import { errorResponseProblems } from '../support/error-response.ts'
import { RedisServer, NO_REDIS } from '../support/redis.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'

/* CLIENT_QUOTA_SHARE. At the start a quarter of the quota is released: 100 calls of 400. */

const KEYS = { web: 'web-key-0123456789abcdef', ios: 'ios-key-0123456789abcdef' }
const ENV = {
  CLIENT_KEYS: `web=${KEYS.web},ios=${KEYS.ios}`,
  CLIENT_QUOTA_SHARE: '5%',
  UPSTREAM_QUOTA: '400/day',
  CACHE_TTL: '200ms',
  CACHE_MAX_TTL: '200ms', // no pacing
  CACHE_STALE_WHILE_REVALIDATE: '0',
}
const SHARE = 20

type Get = (query: string) => Promise<{ readonly status: number }>

async function statuses(gets: readonly Get[], client: keyof typeof KEYS, prefix: string, count: number) {
  const answers = await Promise.all(
    Array.from({ length: count }, (_, i) =>
      (gets[i % gets.length] as Get)(`chargingAvailability=${prefix}${i}&key=${KEYS[client]}`),
    ),
  )
  const of = (status: number) => answers.filter((answer) => answer.status === status).length
  return { ok: of(200), exhausted: of(503) }
}

await t.test('a client at its share of the quota', async (t) => {
  const { get, requestAdmin, upstream } = await startService(t, { env: ENV })

  await t.test('the share is what its lookups may call, and no more', async (t) => {
    t.strictSame(await statuses([get], 'web', 'w', 50), { ok: SHARE, exhausted: 30 })
    t.equal(upstream.calls.length, SHARE)
    const denied = await get(`chargingAvailability=new&key=${KEYS.web}`)
    t.strictSame(errorResponseProblems(denied, { status: 503, code: 'QuotaExhausted' }), [])
    const midnight = new Date().setUTCHours(24, 0, 0, 0)
    t.ok(Math.abs(Number(denied.headers['retry-after']) - (midnight - Date.now()) / 1_000) < 5)
  })

  await t.test('the client still gets stale answers', async (t) => {
    await new Promise((resolve) => setTimeout(resolve, 250))
    const cached = upstream.calls.at(-1)?.id as string
    const stale = await get(`chargingAvailability=${cached}&key=${KEYS.web}`)
    t.equal(stale.status, 200)
    t.match(stale.headers['cache-status'], /detail=QuotaExhausted/)
  })

  await t.test('other clients do not notice, and the metrics name who spends what', async (t) => {
    t.strictSame(await statuses([get], 'ios', 'i', SHARE), { ok: SHARE, exhausted: 0 })
    const metrics = readExposition((await requestAdmin('/metrics')).text)
    t.equal(metrics.value('evproxy_client_upstream_calls_total', { client: 'web' }), SHARE)
    t.equal(metrics.value('evproxy_client_upstream_calls_total', { client: 'ios' }), SHARE)
    const { totals } = JSON.parse((await requestAdmin('/status')).text) as { totals: { clients: unknown } }
    t.strictSame(totals.clients, { web: SHARE, ios: SHARE })
    t.ok((metrics.value('evproxy_client_limited_total', { limit: 'quota' }) ?? 0) >= 31)
  })
})

await t.test('without client keys the share is that of an address', async (t) => {
  const { get } = await startService(t, {
    env: { ...ENV, CLIENT_KEYS: undefined, TRUSTED_PROXIES: '127.0.0.1' },
  })
  const from = async (address: string) => {
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        get(`chargingAvailability=${address}-${i}`, { headers: { 'x-forwarded-for': address } }),
      ),
    )
    return answers.filter(({ status }) => status === 200).length
  }
  t.strictSame([await from('192.0.2.1'), await from('192.0.2.2')], [SHARE, SHARE])
})

await t.test('replicas share the count of a client', { skip: NO_REDIS }, async (t) => {
  const redis = await RedisServer.start(t)
  const env = { ...ENV, REDIS_URL: redis.url }
  const replicas = [await startService(t, { env }), await startService(t, { env })]
  for (const { proxy } of replicas) {
    await until('Redis can be reached', async () => (await proxy.metric('evproxy_shared_cache_up')) === 1)
  }
  const gets = replicas.map(({ get }) => get)
  t.strictSame(await statuses(gets, 'web', 'w', 50), { ok: SHARE, exhausted: 30 })
  t.strictSame(await statuses(gets, 'ios', 'i', SHARE), { ok: SHARE, exhausted: 0 })
})
