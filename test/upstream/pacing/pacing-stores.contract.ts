import type { Test } from 'tap'
import type { LearnedPacing } from '../../../src/upstream/pacing/learned-pacing.ts'
import { UnknownIdAllowance } from '../../../src/upstream/pacing/unknown-id-allowance.ts'
import type { SharedStores } from '../../../src/stores.ts'
import { until } from '../../support/until.ts'
import { sleep } from '../../redis/replicas.ts'

type Stores = Pick<SharedStores, 'pacing' | 'unknownIds'>

const LEARNED: LearnedPacing = {
  price: { thetaS: 123.5, limit: 2_500, demand: [null, 0.5, 2], calls: 10, lookups: 100 },
  changes: { rate: [12, 3_600], correctness: [0.7, 7, 100, 50, 3] },
}

/** What replicas share of pacing, whatever the store is. `open` returns the stores of three replicas. */
export async function pacingStoresContract(
  t: Test,
  open: (t: Test) => Promise<readonly Stores[]>,
): Promise<void> {
  await t.test('a replica gets the latest price of another one, and never its own', async (t) => {
    const [one, other] = (await open(t)).map(({ pacing }) => pacing)
    /** The prices of the other that each gets when they publish in turn. */
    const takeTurns = async (thetaS: number) => {
      one?.publishTheta(thetaS)
      await sleep(20)
      other?.publishTheta(thetaS + 1)
      await sleep(20)
      return [one?.latestThetaS(), other?.latestThetaS()]
    }
    one?.publishTheta(1)
    one?.publishTheta(2)
    await sleep(20)
    const alone = one?.latestThetaS()
    await takeTurns(100)
    await until('each has the price of the other', async () => {
      const [first, second] = await takeTurns(200)
      return first === 201 && second === 200
    })
    t.equal(alone, null)
  })

  await t.test('what a replica has learned is there for the next process', async (t) => {
    const [one, other] = (await open(t)).map(({ pacing }) => pacing)
    const before = await other?.load()
    await one?.save(LEARNED)
    t.notOk(before)
    t.strictSame(await other?.load(), LEARNED)
  })

  await t.test('the allowance for unknown ids is one for all replicas, and is refilled', async (t) => {
    const stores = await open(t)
    let nowMs = 0
    const clock = { now: () => nowMs }
    const quota = { per: 'day', spent: 0, remaining: 1_000 } as const
    const allowances = stores.map(({ unknownIds: store }) => new UnknownIdAllowance({ quota, clock, store }))
    for (let i = 0; i < 11; i++) allowances[i % 3]?.charge()
    const refillMs = 1_728_000 // 1,000 calls × 5 % a day are one call in 28.8 minutes
    await until('all replicas know of all calls: it is used up, and by one more', async () => {
      await Promise.all(allowances.map((allowance) => allowance.sync()))
      return allowances.every((allowance) => allowance.waitMs() > refillMs)
    })
    const left = allowances.map(({ remaining }) => Math.floor(remaining))
    nowMs = 3 * refillMs
    t.strictSame(left, [0, 0, 0])
    t.strictSame(
      allowances.map(({ remaining }) => Math.round(remaining)),
      [2, 2, 2],
    )
  })
}
