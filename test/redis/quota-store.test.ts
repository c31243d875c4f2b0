import type { Test } from 'tap'
import t from 'tap'
import { systemClock } from '../../src/lib/clock.ts'
import type { SharedStores } from '../../src/stores.ts'
import { periodAt } from '../../src/upstream/state/quota-period.ts'
import type { QuotaStore, QuotaUpdate } from '../../src/upstream/state/quota-store.ts'
import { SharedQuota } from '../../src/upstream/state/shared-quota.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { keepAlive, openStores, threeReplicas } from './replicas.ts'

/* The rules of a quota are tested in stores.test.ts; here, a store that cannot be reached or has lost its data. */

keepAlive(t)

const LIMIT = 90
/** A clock in 1970, a right one, and one that is 40 days ahead. */
const SKEWS_MS = [-Date.now() + 1_000, 0, 40 * 86_400_000]
const KEY = 'evproxy:quota:1:{month}'

/** A replica's quota, whose connection to the store can be cut, and whose clock may be off. */
function replicaOn({ quota }: SharedStores, { share = 1, skewMs = 0, limit = LIMIT } = {}) {
  const link = { isCut: false }
  const store: QuotaStore = {
    get isUp() {
      return !link.isCut && quota.isUp
    },
    apply: (update) => quota.apply(update),
  }
  const clock = { ...systemClock, wall: () => Date.now() + skewMs }
  return { link, ledger: new SharedQuota({ limit, per: 'month' }, { store, clock, share }) }
}

type Replica = ReturnType<typeof replicaOn>

async function spend({ ledger }: Replica, most = Number.POSITIVE_INFINITY): Promise<number> {
  let spent = 0
  while (spent < most && (await ledger.acquire(false, false)) === 0) spent++
  return spent
}

/** What restores the present account. */
async function snapshot(server: RedisServer): Promise<() => Promise<void>> {
  const values = (await server.cli('HGETALL', KEY)).split('\n')
  return async () => {
    await server.cli('DEL', KEY)
    await server.cli('HSET', KEY, ...values)
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)
const storedUsage = async (server: RedisServer) => Number(await server.cli('HGET', KEY, 'charged'))

const test = (title: string, run: (t: Test) => Promise<void>) => t.test(title, { skip: NO_REDIS }, run)

await test('replicas with skewed clocks spend one quota to its last call', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const running = replicas.map((stores, i) => replicaOn(stores, { skewMs: SKEWS_MS[i] as number }))
  t.equal(sum(await Promise.all(running.map((one) => spend(one)))), LIMIT)

  const late = replicaOn(await openStores(t, server))
  t.equal(await spend(late), 0, 'a replica that starts later knows the usage')
  t.equal(late.ledger.spent, LIMIT)
  t.equal(late.ledger.remaining, 0)
  t.strictSame(
    running.map(({ ledger }) => ledger.resetAtMs),
    running.map(() => late.ledger.resetAtMs),
  )
})

await test('replicas without the store spend their shares, which are reported once', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const running = replicas.map((stores) => replicaOn(stores, { share: 1 / 3 }))
  t.equal(await spend(running[0] as Replica, 30), 30)
  for (const { ledger } of running) ledger.start()
  await until('all have read the usage', () => running.every(({ ledger }) => ledger.spent === 30))
  for (const { link } of running) link.isCut = true
  t.strictSame(await Promise.all(running.map((one) => spend(one))), [20, 20, 20])
  for (const { link } of running) link.isCut = false
  for (let i = 0; i < 3; i++) for (const { ledger } of running) ledger.start()
  await until('all have read the sum', () => running.every(({ ledger }) => ledger.spent === LIMIT))
  t.equal(await spend(running[1] as Replica), 0)
  t.equal(await storedUsage(server), LIMIT)
  for (const { ledger } of running) ledger.stop()
})

await test('a replica without the store from its start spends its share of the limit', async (t) => {
  const { replicas } = await threeReplicas(t)
  const one = replicaOn(replicas[0], { share: 1 / 3 })
  one.link.isCut = true
  t.equal(await spend(one), LIMIT / 3)
  t.equal(one.ledger.remaining, 0)
  one.link.isCut = false
  t.equal(await spend(replicaOn(replicas[1]), 1), 1)
  t.equal(await spend(one), LIMIT - LIMIT / 3 - 1)
})

await test('usage that the store has lost continues from what a replica last saw', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const one = replicaOn(replicas[0])
  await spend(one, 10)
  one.link.isCut = true
  await spend(one, 5)
  one.link.isCut = false
  await spend(one, 1)
  t.equal(one.ledger.spent, 16)
  await server.cli('FLUSHALL')
  await spend(one, 1)
  t.equal(await storedUsage(server), 17)
  t.equal(await spend(replicaOn(replicas[1])), LIMIT - 17)
})

await test('calls reported before the store lost its usage are not charged again', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const [one, two] = [replicaOn(replicas[0]), replicaOn(replicas[1])]
  two.link.isCut = true
  await spend(two, 5)
  two.link.isCut = false
  await spend(two, 1)
  await spend(one, 1)
  t.equal(one.ledger.spent, 7, 'one has read the calls of two')
  await server.cli('FLUSHALL')
  await spend(one, 1)
  await spend(two, 1)
  t.equal(two.ledger.spent, 9)
  one.ledger.start()
  await until('one has read it', () => one.ledger.spent === 9)
  one.ledger.stop()

  two.link.isCut = true
  await spend(two, 2)
  two.link.isCut = false
  await server.cli('FLUSHALL')
  await spend(one, 1)
  await spend(two, 1)
  t.equal(two.ledger.spent, 13, 'calls that were not reported yet are charged')
})

await test('a call that was not sent is refunded with and without the store', async (t) => {
  const { replicas } = await threeReplicas(t)
  const one = replicaOn(replicas[0])
  await spend(one, 2)
  one.ledger.refund(one.ledger.period)
  await until('it is refunded', () => one.ledger.spent === 1)
  one.ledger.refund('2000-01/month')
  one.link.isCut = true
  await spend(one, 2)
  one.ledger.refund(one.ledger.period)
  one.link.isCut = false
  one.ledger.start()
  one.ledger.stop()
  await until('all calls are reported', () => one.ledger.spent === 2)
})

await test('a call of the store that is refunded while the store is away is refunded once', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const [one, two] = [replicaOn(replicas[0]), replicaOn(replicas[1])]
  await spend(one, 5)
  one.link.isCut = true
  one.ledger.refund(one.ledger.period)
  one.link.isCut = false
  await spend(one, 1)
  await spend(one, 1)
  t.equal(one.ledger.spent, 6)
  await server.cli('FLUSHALL')
  await spend(one, 1)
  await spend(one, 1)
  await spend(two, 1)
  t.equal(two.ledger.spent, 9, 'and once in an account that was lost')
})

await test('calls of a replica with a wrong clock count once it reaches the store', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  for (const [i, skewMs] of SKEWS_MS.entries()) {
    const one = replicaOn(replicas[i] as SharedStores, { share: 1 / 9, skewMs })
    one.link.isCut = true
    await spend(one)
    one.link.isCut = false
    one.ledger.start()
    one.ledger.stop()
    await until('its calls are reported', async () => (await storedUsage(server)) === 10 * (i + 1))
  }
})

await test('whoever knows of more corrects an account that was lost', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const running = replicas.map((stores) => replicaOn(stores))
  const [one, two, three] = running as [Replica, Replica, Replica]
  await spend(three, 1)
  await spend(two, 9)
  await spend(one, 50)
  await server.cli('FLUSHALL')
  const started = [three, two, one].map(async (replica) => {
    replica.ledger.start()
    return spend(replica)
  })
  t.equal(sum(await Promise.all(started)), LIMIT - 60)
  t.equal(await storedUsage(server), LIMIT)
  for (const { ledger } of running) ledger.stop()
})

await test('a part of an account that was lost is corrected', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const [one, two] = [replicaOn(replicas[0]), replicaOn(replicas[1])]
  await spend(one, 20)
  const restore = await snapshot(server)
  await spend(one, 30)
  await restore()
  await spend(two, 1)
  await spend(one, 1)
  t.equal(one.ledger.spent, 52)
})

await test('replicas that saw more than a restored account correct it without losing a call', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const [one, two] = [replicaOn(replicas[0]), replicaOn(replicas[1], { limit: 60 })]
  two.link.isCut = true
  await spend(two, 3)
  two.link.isCut = false
  await spend(one, 20)
  const restore = await snapshot(server)
  await spend(one, 25)
  await spend(two, 2)
  await restore()
  t.equal(await spend(one, 1), 1)
  t.equal(await spend(two), 60 - 51)
  t.equal(two.ledger.spent, 60)
})

await test('calls are counted once although the same earlier state is restored twice', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const one = replicaOn(replicas[0])
  await spend(one, 20)
  const restore = await snapshot(server)
  await spend(one, 30)
  await restore()
  await spend(one, 1)
  t.equal(one.ledger.spent, 51)
  await restore()
  await spend(one, 1)
  t.equal(one.ledger.spent, 52)
})

await test('calls since a restored state hide none of those before it', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const [one, two] = [replicaOn(replicas[0]), replicaOn(replicas[1])]
  await spend(one, 10)
  await spend(two, 1)
  const restore = await snapshot(server)
  const refused = await two.ledger.acquire(false, true, { id: 'without-a-share', limit: 0 })
  t.ok(refused > 0)
  await spend(one, 7)
  await restore()
  await spend(two, 12)
  await spend(one, 1)
  t.equal(one.ledger.spent, 10 + 1 + 7 + 12 + 1)
})

for (const [name, args, save] of [
  ['its append-only file', ['--appendonly', 'yes'], async () => {}],
  ['an older snapshot', [], (server: RedisServer) => server.cli('SAVE')],
] as const) {
  await test(`no call is missing after Redis was killed and has loaded ${name}`, async (t) => {
    const server = await RedisServer.start(t, args)
    const stores = await Promise.all(Array.from({ length: 3 }, () => openStores(t, server)))
    const [one, two, three] = stores.map((opened) => replicaOn(opened)) as [Replica, Replica, Replica]
    await spend(one, 20)
    await spend(three, 1)
    await save(server)
    await spend(one, 10)
    await spend(two, 5)
    await server.kill()
    await until('all have noticed', () => stores.every(({ isUp }) => !isUp()))
    await server.restart()
    await until('all are connected again', () => stores.every(({ isUp }) => isUp()))
    t.equal(await spend(three, 4), 4, 'it cannot see that calls are missing')
    await spend(two, 1)
    await spend(one, 1)
    t.equal(one.ledger.spent, 20 + 1 + 10 + 5 + 4 + 1 + 1)
    t.equal(await spend(replicaOn(await openStores(t, server))), LIMIT - 42)
  })
}

await test('a raise of the limit releases what it adds as at a start, once for all replicas', async (t) => {
  const { replicas } = await threeReplicas(t)
  const [small, large, other] = [20, 2_000, 2_000].map((limit, i) =>
    replicaOn(replicas[i] as SharedStores, { limit }),
  )
  const rationed = async ({ ledger }: Replica) => {
    let taken = 0
    while ((await ledger.acquire(false, true)) === 0) taken++
    return taken
  }
  t.equal(await spend(small as Replica), 20)
  t.equal(await rationed(large as Replica), 100)
  t.equal(await spend(small as Replica), 0)
  t.equal((small as Replica).ledger.remaining, 0, 'and not negative')
  t.equal(await rationed(other as Replica), 0)
})

/** An update of a replica that knows nothing of the store. */
function updateOf(change: Partial<QuotaUpdate> = {}): QuotaUpdate {
  return {
    per: 'month',
    limit: LIMIT,
    change: { kind: 'acquire', leave: null, client: null },
    lastSeen: null,
    unreported: { calls: 0, reported: 0, period: null },
    made: { charged: 0, refunded: 0, period: null },
    ...change,
  }
}

await test('the period is the current one of the server clock', async (t) => {
  const { replicas } = await threeReplicas(t)
  const [{ quota }] = replicas
  const before = Date.now()
  const replies = await Promise.all(
    (['day', 'month'] as const).map(async (per) => (await quota.apply(updateOf({ per })))?.period),
  )
  t.strictSame(
    replies,
    (['day', 'month'] as const).map((per) => periodAt(before, per)),
  )
})

await test('a new period begins a new count, and a clock that goes back takes over both', async (t) => {
  const { replicas, server } = await threeReplicas(t)
  const [{ quota }] = replicas
  await quota.apply(updateOf())
  await quota.apply(updateOf())
  await server.cli('HSET', KEY, 'period', '2020-01/month')
  t.match(await quota.apply(updateOf()), { spent: 1 }, 'the period of the account is over')
  await server.cli('HSET', KEY, 'period', '9000-01/month', 'previous', periodAt(Date.now(), 'month').name)
  t.match(await quota.apply(updateOf()), { spent: 1 + 2 + 1 })
  await server.cli('HSET', KEY, 'period', '9000-01/month')
  t.match(await quota.apply(updateOf()), { spent: 5 }, 'once')
})
