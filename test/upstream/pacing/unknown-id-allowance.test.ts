import * as fc from 'fast-check'
import t from 'tap'
import { UnknownIdAllowance } from '../../../src/upstream/pacing/unknown-id-allowance.ts'

const MINUTE = 60_000
const DAY = 86_400_000

function create(limit: number, per: 'day' | 'month' = 'day') {
  const clock = { ms: 0, now: () => clock.ms }
  const quota = { per, spent: 0, remaining: limit }
  return { clock, quota, allowance: new UnknownIdAllowance({ quota, clock }) }
}

await t.test('the unknown-id allowance', async (t) => {
  await t.test('begins with 1 % of the quota', async (t) => {
    const { allowance } = create(10_000)
    t.equal(allowance.remaining, 100)
    for (let i = 0; i < 100; i++) allowance.charge()
    t.equal(allowance.remaining, 0)
    t.ok(allowance.waitMs() > 0)
  })

  await t.test('allows no more calls than that, however little was refilled meanwhile', async (t) => {
    const { allowance, clock } = create(10_000)
    let calls = 0
    for (; allowance.waitMs() === 0; calls++) {
      allowance.charge()
      clock.ms += 10
    }
    t.equal(calls, 100)
  })

  await t.test('is refilled evenly with 5 % of the quota a day, and saves up at most 1 %', async (t) => {
    const { allowance, clock } = create(10_000)
    for (let i = 0; i < 100; i++) allowance.charge()
    clock.ms += DAY / 10
    t.equal(Math.round(allowance.remaining), 50)
    clock.ms += DAY
    t.equal(allowance.remaining, 100)
  })

  await t.test('is refilled over a month where the quota is one of a month', async (t) => {
    const { allowance, clock } = create(300_000, 'month')
    for (let i = 0; i < 3_000; i++) allowance.charge()
    clock.ms += DAY
    t.equal(Math.round(allowance.remaining), Math.round(15_000 / 30.4))
  })

  await t.test('gives the time until it allows a call again', async (t) => {
    const { allowance, clock } = create(2_500)
    for (let i = 0; i < 26; i++) allowance.charge()
    const waitMs = allowance.waitMs()
    clock.ms += waitMs - 1
    const before = allowance.waitMs()
    clock.ms += 1
    t.strictSame([before > 0, allowance.waitMs()], [true, 0])
  })

  await t.test(
    'allows a call at a time under a quota so small that 1 % of it is less than one',
    async (t) => {
      const { allowance } = create(50)
      t.equal(allowance.waitMs(), 0)
      allowance.charge()
      t.ok(allowance.waitMs() > 0)
    },
  )

  await t.test('depends on the quota as it is, not on what is left of it', async (t) => {
    const { allowance, quota } = create(10_000)
    quota.spent = 9_000
    quota.remaining = 1_000
    t.equal(allowance.remaining, 100)
  })

  await t.test('is what another limit allows, at once, and blocks nobody while the limit dips', async (t) => {
    const { allowance, quota } = create(99)
    t.equal(allowance.remaining, 0.99)
    quota.remaining = 100
    t.strictSame([allowance.remaining, allowance.waitMs()], [1, 0])
    quota.remaining = 10_000
    t.strictSame([allowance.remaining, allowance.waitMs()], [100, 0])
    for (let i = 0; i < 50; i++) allowance.charge()
    quota.remaining = 20_000
    t.equal(allowance.remaining, 150)
  })

  await t.test(
    'takes over what other replicas have charged, but no more than a period refills',
    async (t) => {
      const quota = { per: 'day' as const, spent: 0, remaining: 10_000 }
      let charged = 60
      const store = { apply: async () => charged }
      const allowance = new UnknownIdAllowance({ quota, clock: { now: () => 0 }, store })
      await allowance.sync()
      t.equal(allowance.remaining, 40)
      charged = 1e9
      await allowance.sync()
      t.strictSame([allowance.remaining, allowance.waitMs() <= DAY], [0, true])
      charged = -5
      await allowance.sync()
      t.equal(allowance.remaining, 100)
    },
  )

  await t.test('allows nothing without a quota of at least one call', async (t) => {
    t.equal(create(0).allowance.waitMs(), Number.POSITIVE_INFINITY)
  })

  await t.test('is not exceeded by more than one call in any time, one call after the other', async () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 30 * MINUTE }), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50_000 }), gaps, (limit, gaps) => {
        const { allowance, clock } = create(limit)
        let calls = 0
        for (const gap of gaps) {
          clock.ms += gap
          if (allowance.waitMs() > 0) continue
          allowance.charge()
          calls++
        }
        const allowed = limit * 0.01 + limit * 0.05 * (clock.ms / DAY) + 1
        if (calls > allowed) throw new Error(`${calls} calls, ${allowed} allowed`)
      }),
    )
  })
})
