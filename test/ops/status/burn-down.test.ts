import t from 'tap'
import type { QuotaReading } from '../../../src/ops/status/burn-down.ts'
import { BurnDown, POINTS } from '../../../src/ops/status/burn-down.ts'
import { TestClock } from '../../support/clock.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

function setup() {
  const clock = new TestClock()
  const quota = { limit: 2_400, remaining: 2_400, resetAtMs: Date.UTC(2026, 0, 16) }
  let reading: QuotaReading | null = quota
  const burnDown = new BurnDown(() => reading, 'day', clock)
  burnDown.sample()
  return {
    clock,
    burnDown,
    quota,
    removeQuota: () => (reading = null),
    /** Spends `perMinute` calls in each of `minutes`. */
    spend: async (perMinute: number, minutes: number) => {
      for (let i = 0; i < minutes; i++) {
        await clock.advance(MINUTE)
        quota.remaining -= perMinute
        burnDown.sample()
      }
    },
  }
}

/** What pacing expects once it knows the demand. */
const FORECAST = { isProjected: true, projectedRemaining: 1_234 }

await t.test('a projection needs samples over two minutes, and a quota', async (t) => {
  const { burnDown, spend, removeQuota } = setup()
  t.equal(burnDown.projection(FORECAST), null)
  await spend(1, 1)
  t.equal(burnDown.projection(FORECAST), null)
  await spend(1, 1)
  t.not(burnDown.projection(FORECAST), null)
  removeQuota()
  burnDown.sample()
  t.equal(burnDown.projection(FORECAST), null, 'without a quota')
})

await t.test('there is no projection while pacing has no forecast', async (t) => {
  const { burnDown, spend } = setup()
  await spend(2, 60)
  t.strictSame(
    [null, { isProjected: false, projectedRemaining: 2_280 }].map((forecast) =>
      burnDown.projection(forecast),
    ),
    [null, null],
  )
})

await t.test(
  'a projection has the calls of the last hour, and what pacing expects at the reset',
  async (t) => {
    const { burnDown, spend } = setup()
    await spend(10, 60)
    // Extrapolated, this hour would leave 1,800 − 11 × 600 calls: pacing does not let that happen.
    t.strictSame(burnDown.projection(FORECAST), { perHour: 600, remainingAtReset: 1_234, spentAtMs: null })
  },
)

await t.test('the time at which a quota is exhausted is that at which nothing is left', async (t) => {
  const { clock, burnDown, quota, spend } = setup()
  await spend(40, 60)
  const spent = burnDown.projection({ isProjected: true, projectedRemaining: 0 })
  t.strictSame([quota.remaining, spent?.remainingAtReset, spent?.spentAtMs], [0, 0, clock.wall()])
  quota.remaining = 1
  t.equal(burnDown.projection({ isProjected: true, projectedRemaining: 1 })?.spentAtMs, null)
})

await t.test('a projection ignores samples before the last hour', async (t) => {
  const { burnDown, spend } = setup()
  await spend(20, 30)
  await spend(1, 61)
  t.ok((burnDown.projection(FORECAST)?.perHour ?? 0) < 90)
})

await t.test('the burn-down starts again with a new period', async (t) => {
  const { clock, burnDown, quota, spend } = setup()
  await spend(2, 60)
  await clock.advance(11 * HOUR)
  Object.assign(quota, { remaining: 2_400, resetAtMs: quota.resetAtMs + 24 * HOUR })
  burnDown.sample()
  t.equal(burnDown.projection(FORECAST), null)
  t.strictSame(burnDown.points(0), [[0, 2_400]])
  t.equal(burnDown.startedAtMs, Date.UTC(2026, 0, 16))
})

await t.test('the burn-down keeps the calls left at the end of each part of the period', async (t) => {
  const { clock, burnDown, spend } = setup()
  t.equal(burnDown.partMs, (24 * HOUR) / POINTS)
  await spend(1, 10)
  const noon = POINTS / 2
  t.strictSame(burnDown.points(0), [
    [noon, 2_396],
    [noon + 1, 2_391],
    [noon + 2, 2_390],
  ])
  t.strictSame(burnDown.points(clock.wall()), [[noon + 2, 2_390]], 'only the parts that are not over')
})

await t.test('the burn-down computes the start of a month', async (t) => {
  const clock = new TestClock()
  clock.setWall(Date.UTC(2026, 1, 20))
  const quota = { limit: 1, remaining: 1, resetAtMs: Date.UTC(2026, 2, 1) }
  const burnDown = new BurnDown(() => quota, 'month', clock)
  burnDown.sample()
  t.equal(burnDown.startedAtMs, Date.UTC(2026, 1, 1))
})
