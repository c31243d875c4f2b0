import t from 'tap'
import { readExposition } from '../support/exposition.ts'
import { startLyingRedis } from '../support/fuzz-redis.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { keepAlive, threeReplicas } from './replicas.ts'

/* A server that speaks Redis' protocol and returns what no script of this service can have returned. */

keepAlive(t)

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`
const list = (...items: string[]) => `*${items.length}\r\n${items.join('')}`
const int = (value: number) => `:${value}\r\n`

const HOUR_MS = 3_600_000
const STATION = '{"chargingAvailability":"a","connectors":[]}'
const quotaReply = (...values: string[]) => list(...values.map(bulk))

/** Replies to every script and to GET, by the kind of lie. */
const LIES: Readonly<Record<string, string>> = {
  nothing: '$-1\r\n',
  'an empty list': list(),
  'a text': bulk('lie'),
  NaN: bulk('NaN'),
  'a wait of an hour': bulk(String(HOUR_MS)),
  'a wait without end': bulk('1e300'),
  'a negative number': int(-1),
  'a lease of nobody': list(bulk('lease')),
  'an error that no replica had': list(bulk('taken'), bulk('!Forbidden'), int(HOUR_MS)),
  'an error without end': list(bulk('taken'), bulk('!NotFound'), int(1e15)),
  'another answer each time': list(bulk('answer'), bulk(`1 1 1000 v ${STATION}`), int(0)),
  'an answer of the future': list(bulk('answer'), bulk(`999999999999999 1 1000 v ${STATION}`), int(0)),
  'a quota that is spent for ever': quotaReply('1e18', '0', '1e18', '1e18', '0', '0', '9e18', '1', 'p', 'a'),
  'a quota of NaN': quotaReply('0', '0', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'p', 'a'),
  'a hold without end': quotaReply('86400000', '86400000', '0', '0', '0', '0', '86400000', '0', 'p', 'a'),
  'an error': '-ERR wrong arguments\r\n',
}

for (const [name, lie] of Object.entries(LIES)) {
  await t.test(`a Redis that replies with ${name} harms no request`, async (t) => {
    const redis = await startLyingRedis()
    t.teardown(redis.stop)
    redis.reply = lie
    const { get, proxy, requestAdmin } = await startService(t, {
      env: {
        REDIS_URL: redis.url,
        UPSTREAM_QUOTA: '400/day',
        UPSTREAM_MAX_QPS: '50',
        UPSTREAM_TIMEOUT: '2s',
      },
    })
    await until('Redis is used', () => redis.commands > 2)
    const found: number[] = []
    const startedAt = performance.now()
    for (let i = 0; i < 5; i++) found.push((await get(`chargingAvailability=s${i}`)).status)
    const ms = performance.now() - startedAt
    const isHold = name.startsWith('a hold')
    t.notOk(found.includes(403), found.join())
    t.notOk(found.includes(500), found.join())
    t.ok(ms < (isHold ? 20_000 : 4_000), `${ms} ms`)
    t.ok(redis.commands < 3_000, `${redis.commands} commands`)
    const metrics = readExposition((await requestAdmin('/metrics')).text)
    t.ok(Number(metrics.value('evproxy_quota_remaining')) >= 0)
    t.ok(Number.isFinite(metrics.value('evproxy_quota_reset_timestamp_seconds')))
    t.equal(proxy.logs.filter(({ level }) => level === 'fatal').length, 0)
    if (name === 'an error') t.equal(metrics.value('evproxy_shared_cache_up'), 1)
  })
}

await t.test(
  'a lease beyond its longest life, or without an end, has expired',
  { skip: NO_REDIS },
  async (t) => {
    const { server, replicas } = await threeReplicas(t)
    const [{ answers }] = replicas
    const kinds = []
    const lease = { token: 'mine', ms: 1_500 }
    for (const [value, ...life] of [
      ['peer', 'PX', '1500'],
      ['peer', 'PX', '3600000'],
      ['peer'],
      ['!NotFound', 'PX', '1500'],
      ['!NotFound', 'PX', '172800000'],
      ['!NotFound'],
      ['!Forbidden', 'PX', '1500'],
    ]) {
      await server.cli('SET', 'evproxy:1:lease:{a}', value as string, ...life)
      kinds.push((await answers.leaseGet('a', '', lease)).kind)
    }
    t.strictSame(kinds, ['leased-by-peer', 'lease', 'lease', 'error', 'lease', 'lease', 'unavailable'])
  },
)

await t.test(
  'an answer with a life of 0 is not published, and its lease ends',
  { skip: NO_REDIS },
  async (t) => {
    const { server, replicas } = await threeReplicas(t)
    const [one, other] = replicas
    const lease = { token: 'mine', ms: 1_500 }
    await one.answers.leaseGet('a', '', lease)
    const answer = { version: 'mine', json: '{}', ageMs: 0, startedAgoMs: 0, changedAt: 0, jitter: 1 }
    for (const lifeMs of [0, 0.4, Number.NaN]) one.answers.publish('a', answer, lifeMs)
    await until(
      'the lease has ended',
      async () => (await other.answers.leaseGet('a', '', lease)).kind === 'lease',
    )
    t.equal(await server.cli('EXISTS', 'evproxy:1:answer:{a}'), '0')
    t.ok(one.isUp())
  },
)

await t.test('a server that may evict the count of the quota is reported', { skip: NO_REDIS }, async (t) => {
  const warnings = []
  for (const policy of ['allkeys-lru', 'volatile-lru', 'noeviction']) {
    const server = await RedisServer.start(t, ['--maxmemory', '64mb', '--maxmemory-policy', policy])
    const env = { REDIS_URL: server.url, UPSTREAM_QUOTA: '400/day' }
    const { proxy, get } = await startService(t, { env })
    await until('Redis can be reached', async () => (await proxy.metric('evproxy_shared_cache_up')) === 1)
    await get('chargingAvailability=a')
    const warned = () =>
      proxy.logs.filter(({ msg }) => msg === 'Redis may evict the count of the quota').length
    if (policy === 'allkeys-lru') await until('it is reported', () => warned() > 0)
    else await new Promise((resolve) => setTimeout(resolve, 200))
    warnings.push(warned())
  }
  t.strictSame(warnings, [1, 0, 0])
})
