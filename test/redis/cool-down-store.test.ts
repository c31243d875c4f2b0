import t from 'tap'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { TEST_KEY } from '../support/proxy.ts'
import { answerStatus } from '../support/scripted-upstream.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { keepAlive, threeReplicas } from './replicas.ts'

/* The rules of a cool-down are tested in stores.test.ts. */

keepAlive(t)

const COOL_DOWN = {
  code: 'UpstreamRefused',
  status: 403,
  diagnosis: 'why',
  times: 2,
  waitMs: 60_000,
} as const

await t.test('a cool-down is shared by replicas with the same key', { skip: NO_REDIS }, async (t) => {
  const { replicas } = await threeReplicas(t)
  const [one, other] = replicas
  t.equal(await other.coolDowns.get(TEST_KEY), null)
  one.coolDowns.set(TEST_KEY, COOL_DOWN)
  await until('it is stored', async () => (await other.coolDowns.get(TEST_KEY)) !== null)
  const { waitMs, ...coolDown } = (await other.coolDowns.get(TEST_KEY)) ?? { waitMs: 0 }
  t.match(coolDown, { code: 'UpstreamRefused', status: 403, diagnosis: 'why', times: 2 })
  t.ok(waitMs > 50_000 && waitMs <= 60_000)
  t.equal(await other.coolDowns.get('another key'), null)
  other.coolDowns.clear(TEST_KEY)
  await until('it is cleared', async () => (await one.coolDowns.get(TEST_KEY)) === null)
})

await t.test('the API key is in no key and no value of Redis', { skip: NO_REDIS }, async (t) => {
  const { server, replicas } = await threeReplicas(t)
  const [{ coolDowns }] = replicas
  coolDowns.set(TEST_KEY, COOL_DOWN)
  t.equal(await coolDowns.tryAcquireProbe(TEST_KEY), true)
  const names = (await server.cli('KEYS', '*cool-down*')).split('\n')
  t.equal(names.length, 2)
  const values = await Promise.all(names.map((name) => server.cli('GET', name)))
  t.notOk([...names, ...values].some((text) => text.includes(TEST_KEY)))
})

await t.test('a value that this service did not write is no cool-down', { skip: NO_REDIS }, async (t) => {
  const { server, replicas } = await threeReplicas(t)
  const [{ coolDowns }] = replicas
  coolDowns.set(TEST_KEY, COOL_DOWN)
  await until('it is stored', async () => (await coolDowns.get(TEST_KEY)) !== null)
  const name = (await server.cli('KEYS', '*cool-down*')).split('\n')[0] as string
  const seen = []
  for (const text of ['no JSON', '{"code":"NoSuchCode"}', '{}', 'null']) {
    await server.cli('SET', name, text, 'PX', '60000')
    seen.push(await coolDowns.get(TEST_KEY))
  }
  t.strictSame(seen, [null, null, null, null])
})

await t.test('tryAcquireProbe is true for one replica until it releases', { skip: NO_REDIS }, async (t) => {
  const { replicas } = await threeReplicas(t)
  const tryAll = () => Promise.all(replicas.map(({ coolDowns }) => coolDowns.tryAcquireProbe(TEST_KEY)))
  const acquired = await tryAll()
  t.equal(acquired.filter(Boolean).length, 1)
  t.strictSame(await tryAll(), [false, false, false])
  replicas[acquired.indexOf(true)]?.coolDowns.releaseProbe(TEST_KEY)
  await until('it is released', () => replicas[0].coolDowns.tryAcquireProbe(TEST_KEY))
})

await t.test(
  'without Redis there is no shared cool-down and every probe is allowed',
  { skip: NO_REDIS },
  async (t) => {
    const { server, replicas } = await threeReplicas(t)
    const [{ coolDowns }] = replicas
    coolDowns.set(TEST_KEY, COOL_DOWN)
    await server.kill()
    t.equal(await coolDowns.get(TEST_KEY), null)
    t.strictSame(await Promise.all([1, 2].map(() => coolDowns.tryAcquireProbe(TEST_KEY))), [true, true])
  },
)

await t.test('a rejection of one replica keeps all others from calling', { skip: NO_REDIS }, async (t) => {
  const server = await RedisServer.start(t)
  const options = { env: { REDIS_URL: server.url }, script: answerStatus(429, '', { 'retry-after': '60' }) }
  const [one, other] = [await startService(t, options), await startService(t, options)]
  for (const { proxy } of [one, other]) {
    await until('it is up', async () => (await proxy.metric('evproxy_shared_cache_up')) === 1)
  }
  t.equal((await one.get('chargingAvailability=a')).status, 429)
  await until('it is stored', async () => (await server.cli('KEYS', '*cool-down*')) !== '')
  const answer = await other.get('chargingAvailability=b')
  t.equal(answer.status, 429)
  t.ok(Number(answer.headers['retry-after']) > 50)
  t.equal(other.upstream.calls.length, 0)
  t.equal(await other.proxy.metric('evproxy_upstream_requests_total{outcome="throttled"}'), 0)
  t.ok(other.proxy.logs.some(({ status, waitMs }) => status === 429 && Number(waitMs) > 50_000))
})
