import type { Test } from 'tap'
import t from 'tap'
import { systemClock } from '../../src/lib/clock.ts'
import { redisUrl } from '../../src/config/redis-url.ts'
import type { SharedStores } from '../../src/stores.ts'
import { openRedisStores } from '../../src/redis/stores.ts'
import type { RedisConfig } from '../../src/config/redis-url.ts'
import type { QuotaStore } from '../../src/upstream/state/shared-quota.ts'
import { SharedQuota } from '../../src/upstream/state/shared-quota.ts'
import { TEST_KEY } from '../support/proxy.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { answerStatus } from '../support/scripted-upstream.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'

const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

/** A replica's own access to what is shared. */
async function open(t: Test, server: RedisServer): Promise<SharedStores> {
  const tier = await openRedisStores(redisUrl.parse(server.url) as RedisConfig, {
    clock: systemClock,
    observer: { sharedCacheChanged: () => {} },
  })
  t.teardown(tier.close)
  await until('the gate is open', () => tier.isUp())
  return tier
}

async function three(t: Test): Promise<{ server: RedisServer; tiers: SharedStores[] }> {
  const server = await RedisServer.start(t)
  return { server, tiers: await Promise.all([1, 2, 3].map(() => open(t, server))) }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)

await t.test('calls a second', { skip: NO_REDIS }, async (t) => {
  const { server, tiers } = await three(t)
  const [tier] = tiers as [SharedStores, ...SharedStores[]]
  const bucket = { count: 5, tokenReuseMs: 1_020, reserved: 1 }

  await t.test('one bucket for all, whoever takes whenever', async (t) => {
    const startedAt = performance.now()
    let taken = 0
    const hammer = async ({ tokens }: SharedStores) => {
      while (performance.now() - startedAt < 2_500) {
        if ((await tokens.take(bucket, 0, 0)) === 0) taken++
      }
    }
    await Promise.all(tiers.map(hammer))
    const rounds = Math.floor((performance.now() - startedAt) / bucket.tokenReuseMs) + 1
    t.ok(taken >= 5 * (rounds - 1) && taken <= 5 * rounds, `${taken} in ${rounds} rounds`)
  })

  await t.test('a place in the queue is one for all, too, and known at once', async (t) => {
    await server.cli('DEL', 'evproxy:1:tokens')
    const waits = await Promise.all(
      Array.from({ length: 12 }, (_, i) => (tiers[i % 3] as SharedStores).tokens.take(bucket, 0, 1_500)),
    )
    const sorted = waits.map(Number).toSorted((a, b) => a - b)
    t.strictSame(sorted.slice(0, 5), [0, 0, 0, 0, 0])
    for (const wait of sorted.slice(5, 10)) t.ok(wait > 500 && wait <= 1_020, `second round in ${wait} ms`)
    for (const wait of sorted.slice(10)) t.ok(wait > 1_500, `no place within ${wait} ms`)
    t.equal(await server.cli('LLEN', 'evproxy:1:tokens'), '5')
  })

  await t.test('the last tokens are for callers alone', async (t) => {
    await server.cli('DEL', 'evproxy:1:tokens')
    const refreshes = []
    for (let i = 0; i < 6; i++) refreshes.push((await tier.tokens.take(bucket, bucket.reserved, 0)) === 0)
    t.strictSame(refreshes, [true, true, true, true, false, false])
    t.equal(await tier.tokens.take(bucket, 0, 0), 0)
    t.not(await tier.tokens.take(bucket, 0, 0), 0)
  })

  await t.test('what was written while the clock was ahead locks nobody out', async (t) => {
    const ahead = String(Date.now() + 3_600_000)
    await server.cli('DEL', 'evproxy:1:tokens')
    await server.cli('RPUSH', 'evproxy:1:tokens', ahead, ahead, ahead, ahead, ahead)
    t.equal(await tier.tokens.take(bucket, 0, 0), 0)
  })
})

await t.test('the quota', { skip: NO_REDIS }, async (t) => {
  const LIMIT = 90
  /** A replica's budget, with a switch for its way to the ledger and a clock that is off. */
  const replica = ({ quota: ledger }: SharedStores, { share = 1, skewMs = 0, limit = LIMIT } = {}) => {
    const way = { isCut: false }
    const switched: QuotaStore = {
      get isUp() {
        return !way.isCut && ledger.isUp
      },
      apply: (order) => ledger.apply(order),
    }
    const clock = { ...systemClock, wall: () => Date.now() + skewMs }
    return { way, budget: new SharedQuota({ limit, per: 'month' }, { store: switched, clock, share }) }
  }
  type Replica = ReturnType<typeof replica>
  const spend = async ({ budget }: Replica, most = Number.POSITIVE_INFINITY) => {
    let spent = 0
    while (spent < most && (await budget.acquire(false, false)) === 0) spent++
    return spent
  }

  await t.test('is spent to the last call by all together, and by none twice', async (t) => {
    const { tiers, server } = await three(t)
    const replicas = tiers.map((tier, i) => replica(tier, { skewMs: (i - 1) * 10_000 }))
    t.equal(sum(await Promise.all(replicas.map((one) => spend(one)))), LIMIT)

    const late = replica(await open(t, server))
    t.equal(await spend(late), 0, 'one that starts later knows')
    t.equal(late.budget.spent, LIMIT)
    t.equal(late.budget.remaining, 0)
    for (const { budget } of replicas) t.equal(budget.resetAtMs, late.budget.resetAtMs)
  })

  await t.test('while the ledger is away everyone spends a share, and it is told of it once', async (t) => {
    const { tiers, server } = await three(t)
    const replicas = tiers.map((tier) => replica(tier, { share: 1 / 3 }))
    t.equal(await spend(replicas[0] as Replica, 30), 30)
    for (const { budget } of replicas) budget.start()
    await until('all have heard of it', () => replicas.every(({ budget }) => budget.spent === 30))
    for (const { way } of replicas) way.isCut = true
    t.strictSame(await Promise.all(replicas.map((one) => spend(one))), [20, 20, 20])
    for (const { way } of replicas) way.isCut = false
    for (let i = 0; i < 3; i++) for (const { budget } of replicas) budget.start()
    await until('the sum is known', () => replicas.every(({ budget }) => budget.spent === LIMIT))
    t.equal(await spend(replicas[1] as Replica), 0)
    t.equal(Number(await server.cli('HGET', 'evproxy:1:quota:month', 'spent')), LIMIT)
    for (const { budget } of replicas) budget.stop()
  })

  await t.test('away from the start: a share of all', async (t) => {
    const { tiers } = await three(t)
    const one = replica(tiers[0] as SharedStores, { share: 1 / 3 })
    one.way.isCut = true
    t.equal(await spend(one), LIMIT / 3)
    t.equal(one.budget.remaining, 0)
    one.way.isCut = false
    t.equal(await spend(replica(tiers[1] as SharedStores), 1), 1)
    t.equal(await spend(one), LIMIT - LIMIT / 3 - 1)
  })

  await t.test('an account that was lost is opened again by those who remember', async (t) => {
    const { tiers, server } = await three(t)
    const one = replica(tiers[0] as SharedStores)
    await spend(one, 10)
    one.way.isCut = true
    await spend(one, 5)
    one.way.isCut = false
    await spend(one, 1)
    t.equal(one.budget.spent, 16)
    await server.cli('FLUSHALL')
    await spend(one, 1)
    t.equal(Number(await server.cli('HGET', 'evproxy:1:quota:month', 'spent')), 17)
    t.equal(await spend(replica(tiers[1] as SharedStores)), LIMIT - 17)
  })

  await t.test('also what others spent alone and have told, and that once', async (t) => {
    const { tiers, server } = await three(t)
    const [one, two] = tiers.map((tier) => replica(tier)) as [Replica, Replica]
    two.way.isCut = true
    await spend(two, 5)
    two.way.isCut = false
    await spend(two, 1)
    await spend(one, 1)
    t.equal(one.budget.spent, 7, 'one has heard of it')
    await server.cli('FLUSHALL')
    await spend(one, 1)
    await spend(two, 1)
    t.equal(two.budget.spent, 9)
    one.budget.start()
    await until('one has heard of it', () => one.budget.spent === 9)
    one.budget.stop()

    two.way.isCut = true
    await spend(two, 2)
    two.way.isCut = false
    await server.cli('FLUSHALL')
    await spend(one, 1)
    await spend(two, 1)
    t.equal(two.budget.spent, 13, 'what has not been told yet counts')
  })

  await t.test('a call that was not sent is given back, wherever it was taken', async (t) => {
    const { tiers } = await three(t)
    const one = replica(tiers[0] as SharedStores)
    await spend(one, 2)
    one.budget.refund(one.budget.resetAtMs)
    await until('it is back', () => one.budget.spent === 1)
    one.budget.refund(one.budget.resetAtMs - 1)
    one.way.isCut = true
    await spend(one, 2)
    one.budget.refund(one.budget.resetAtMs)
    one.way.isCut = false
    one.budget.start()
    one.budget.stop()
    await until('all is told', () => one.budget.spent === 2)
  })

  await t.test('rationed: what is released, and a reserve that refreshes leave', async (t) => {
    const { tiers } = await three(t)
    const { budget } = replica(tiers[0] as SharedStores, { limit: 4_000 })
    const take = async (count: number, isRefresh: boolean) => {
      let taken = 0
      for (let i = 0; i < count; i++) if ((await budget.acquire(isRefresh, true)) === 0) taken++
      return taken
    }
    // A twentieth, 200 calls, is released at once; a fiftieth of what remains is for stations that are not held.
    t.equal(await take(200, true), 122)
    t.equal(await take(100, false), 78)
    const waitMs = await budget.acquire(false, true)
    t.ok(waitMs > 0 && waitMs < 31 * 86_400_000, `${waitMs}`)
    t.equal(await budget.acquire(false, false), 0)
  })

  await t.test('begins anew when the period ends by the clock of the ledger', async (t) => {
    const { tiers } = await three(t)
    const { quota: ledger } = tiers[0] as SharedStores
    const end = Date.now() + 400
    const order = {
      per: 'day',
      limit: 1,
      initial: 1,
      periodEnds: [end - 86_400_000, end, end + 86_400_000],
      change: { kind: 'acquire', leave: null },
      lastSeen: { spent: 0, periodEndsAtMs: 0 },
      unreported: { calls: 0, reported: 0, periodEndsAtMs: 0 },
    } as const
    t.match(await ledger.apply(order), { waitMs: 0, spent: 1, resetAtMs: end })
    const refused = await ledger.apply(order)
    t.ok(refused !== null && refused.waitMs > 0 && refused.waitMs <= 400)
    await until('the period is over', () => Date.now() > end)
    t.match(await ledger.apply(order), { waitMs: 0, spent: 1, resetAtMs: end + 86_400_000 })
  })
})

await t.test('refusals', { skip: NO_REDIS }, async (t) => {
  const refusal = {
    code: 'UpstreamRefused',
    status: 403,
    diagnosis: 'why',
    times: 2,
    waitMs: 60_000,
  } as const

  await t.test('are told to all who have the same key, and the key to nobody', async (t) => {
    const { tiers, server } = await three(t)
    const [one, other] = tiers as [SharedStores, SharedStores]
    t.equal(await other.coolDowns.get(TEST_KEY), null)
    one.coolDowns.set(TEST_KEY, refusal)
    await until('it is told', async () => (await other.coolDowns.get(TEST_KEY)) !== null)
    const { waitMs, ...told } = (await other.coolDowns.get(TEST_KEY)) ?? { waitMs: 0 }
    t.match(told, { code: 'UpstreamRefused', status: 403, diagnosis: 'why', times: 2 })
    t.ok(waitMs > 50_000 && waitMs <= 60_000)
    t.equal(await other.coolDowns.get('another key'), null)
    for (const name of (await server.cli('KEYS', '*')).split('\n')) {
      t.notOk(name.includes(TEST_KEY))
      if (name.includes('cool-down')) t.notOk((await server.cli('GET', name)).includes(TEST_KEY))
    }
    other.coolDowns.clear(TEST_KEY)
    await until('it is cleared', async () => (await one.coolDowns.get(TEST_KEY)) === null)
  })

  await t.test('what nobody of ours has written is none', async (t) => {
    const { tiers, server } = await three(t)
    const [one] = tiers as [SharedStores]
    one.coolDowns.set(TEST_KEY, refusal)
    await until('it is told', async () => (await one.coolDowns.get(TEST_KEY)) !== null)
    const name = (await server.cli('KEYS', '*cool-down*')).split('\n')[0] as string
    for (const text of ['no JSON', '{"code":"NoSuchCode"}', '{}', 'null']) {
      await server.cli('SET', name, text, 'PX', '60000')
      t.equal(await one.coolDowns.get(TEST_KEY), null, text)
    }
  })

  await t.test('one replica at a time goes out to see', async (t) => {
    const { tiers } = await three(t)
    const acquired = await Promise.all(
      tiers.map(({ coolDowns: refusals }) => refusals.tryAcquireProbe(TEST_KEY)),
    )
    t.equal(acquired.filter(Boolean).length, 1)
    tiers[acquired.indexOf(true)]?.coolDowns.releaseProbe(TEST_KEY)
    await until(
      'the place is free',
      async () => (await tiers[0]?.coolDowns.tryAcquireProbe(TEST_KEY)) === true,
    )
  })

  await t.test('of one replica keep all others from calling', async (t) => {
    const server = await RedisServer.start(t)
    const options = { env: { REDIS_URL: server.url }, script: answerStatus(429, '', { 'retry-after': '60' }) }
    const [one, other] = [await startService(t, options), await startService(t, options)]
    for (const { proxy } of [one, other]) {
      await until('it is up', async () => (await proxy.metric('evproxy_shared_cache_up')) === 1)
    }
    t.equal((await one.get('chargingAvailability=a')).status, 429)
    await until('it is told', async () => (await server.cli('KEYS', '*cool-down*')) !== '')
    const answer = await other.get('chargingAvailability=b')
    t.equal(answer.status, 429)
    t.ok(Number(answer.headers['retry-after']) > 50)
    t.equal(other.upstream.calls.length, 0)
    t.ok(other.proxy.logs.some(({ msg }) => msg === 'upstream refuses our calls'))
  })
})
