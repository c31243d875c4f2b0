import t from 'tap'
import { createPacer } from '../../../src/upstream/pacing/pacer.ts'
import { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { TestClock } from '../../support/clock.ts'

const MINUTE = 60_000

/** 100 stations that are asked for every ten seconds for an hour, each called once a minute, from noon on. */
async function anHour(limit: number) {
  const clock = new TestClock()
  const ledger = new LocalQuota({ limit, per: 'day' }, clock)
  const usage = {
    lookups: 0,
    sinceLastUse: () => Array.from({ length: usage.lookups === 0 ? 0 : 100 }, () => 5_000),
  }
  const { forecast } = createPacer(
    { ttlMs: MINUTE, maxTtlMs: 5 * MINUTE },
    { ledger, usage: () => usage, clock },
  )
  const atStart = forecast()
  for (let second = 0; second < 3_600; second += 10) {
    usage.lookups += 100
    if (second % 60 === 0) for (let i = 0; i < 100; i++) ledger.acquire(true, false)
    await clock.advance(10_000)
    forecast()
  }
  return { atStart, forecast: forecast(), remaining: ledger.remaining }
}

await t.test('the forecast is all that remains, without rationing, before anything is asked', async (t) => {
  const { atStart } = await anHour(100_000)
  t.strictSame(atStart, { projectedRemaining: 100_000, isRationing: false })
})

await t.test('the forecast is what will be left at the reset at the expected demand', async (t) => {
  const { forecast, remaining } = await anHour(100_000)
  t.equal(forecast.isRationing, false)
  const expected = remaining - 11 * 60 * 100
  t.ok(
    Math.abs(forecast.projectedRemaining - expected) < 8_000,
    `${forecast.projectedRemaining}, ${expected}`,
  )
})

await t.test(
  'the forecast is rationing with nothing left when the maximum TTL does not suffice',
  async (t) => {
    const { forecast } = await anHour(7_000)
    t.strictSame(forecast, { projectedRemaining: 0, isRationing: true })
  },
)
