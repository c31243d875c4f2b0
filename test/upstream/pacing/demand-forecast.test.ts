import * as fc from 'fast-check'
import t from 'tap'
import { DemandForecast } from '../../../src/upstream/pacing/demand-forecast.ts'
import { fitDailyDemand } from '../../../src/upstream/pacing/diurnal-fit.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MIDNIGHT = Date.UTC(2026, 0, 16)

function watched(from = MIDNIGHT) {
  const clock = { ms: from, wall: () => clock.ms }
  const demand = new DemandForecast(clock)
  /** So many requests a minute. */
  const pass = (ms: number, perMinute: (hour: number) => number) => {
    for (const end = clock.ms + ms; clock.ms < end;) {
      const hour = new Date(clock.ms).getUTCHours()
      clock.ms += 60_000
      demand.record(perMinute(hour))
    }
  }
  return { clock, demand, pass }
}

function total(parts: ReturnType<DemandForecast['expected']>): number {
  return parts.reduce((sum, { ms }) => sum + ms, 0)
}

function busyAtNoon(hour: number): number {
  return hour === 12 ? 400 : 100
}

await t.test('the forecast of the demand', async (t) => {
  await t.test('the forecast covers the whole time, no more and no less', async (t) => {
    for (const [from, ms] of [
      [MIDNIGHT, DAY],
      [MIDNIGHT + 12.5 * HOUR, 11.5 * HOUR],
      [MIDNIGHT + 59 * 60_000, 2 * 60_000],
      [MIDNIGHT, 31 * DAY],
      [MIDNIGHT + 1, 1],
      [MIDNIGHT, 0],
    ] as const) {
      t.equal(total(watched(from).demand.expected(from + ms)), ms, `${ms} ms`)
    }
  })

  await t.test('the forecast is the current demand until more is known', async (t) => {
    const { demand, pass, clock } = watched()
    t.ok(demand.expected(clock.ms + DAY).every(({ ratio }) => ratio === 1))
    pass(10 * 60_000, () => 50)
    t.ok(demand.expected(clock.ms + DAY).every(({ ratio }) => ratio === 1))
  })

  await t.test('the forecast of an hour is the demand of the same hour before', async (t) => {
    const { demand, pass, clock } = watched()
    pass(DAY + 11.5 * HOUR, busyAtNoon)
    const parts = demand.expected(clock.ms + 1.5 * HOUR)
    t.equal(parts.length, 2)
    for (const [i, ratio] of [1, 4].entries()) {
      t.ok(Math.abs((parts[i]?.ratio ?? 0) - ratio) < 0.1, `${parts[i]?.ratio} instead of ${ratio}`)
    }
  })

  await t.test('the forecast of an hour follows a change from day to day', async (t) => {
    const { demand, pass, clock } = watched()
    pass(DAY, busyAtNoon)
    pass(4 * DAY + 11.5 * HOUR, () => 100)
    const noon = demand.expected(clock.ms + HOUR).at(-1)?.ratio ?? 0
    t.ok(noon > 1 && noon < 1.25, `${noon}: a sixteenth of the difference is left`)
  })

  await t.test('the forecast follows a change of the current demand within about half an hour', async (t) => {
    const { demand, pass, clock } = watched()
    pass(DAY, () => 100)
    pass(2 * HOUR, () => 300)
    const [present, later] = [demand.expected(clock.ms + 1)[0], demand.expected(clock.ms + 3 * HOUR)[2]]
    t.equal(present?.ratio, 1)
    t.ok(Math.abs((later?.ratio ?? 0) - 1 / 3) < 0.05, `${later?.ratio}: the other hours were quieter`)
  })

  await t.test('the forecast ignores an hour that the wall clock cut short', async (t) => {
    const { demand, pass, clock } = watched(MIDNIGHT + 30 * 60_000)
    pass(30 * 60_000, () => 900)
    pass(HOUR, () => 100)
    clock.ms -= 2 * HOUR
    demand.record(5)
    clock.ms += 2 * HOUR
    pass(5 * HOUR, () => 100)
    const parts = demand.expected(clock.ms + DAY)
    t.equal(total(parts), DAY)
    t.strictSame(
      parts.filter(({ ratio }) => !(ratio > 0.9 && ratio < 1.2)),
      [],
    )
  })

  await t.test('the forecast continues to learn after the wall clock went back', async (t) => {
    const { demand, pass, clock } = watched()
    pass(DAY, () => 100)
    clock.ms -= 6 * HOUR
    pass(3 * HOUR, () => 300)
    const [present, later] = [demand.expected(clock.ms + 1)[0], demand.expected(clock.ms + 2 * HOUR)[1]]
    t.equal(present?.ratio, 1)
    t.ok(Math.abs((later?.ratio ?? 0) - 1 / 3) < 0.05, `${later?.ratio}: it is three times what it was`)
  })

  await t.test('the forecast of hours never seen follows the fitted daily curve', async (t) => {
    const { demand, pass, clock } = watched()
    const perMinute = (hour: number) => 100 - 80 * Math.cos(((hour - 4) / 24) * 2 * Math.PI)
    pass(12.5 * HOUR, perMinute)
    const later = demand.expected(clock.ms + 10 * HOUR).slice(1)
    t.equal(later.length, 10)
    for (const { ratio } of later) t.ok(ratio > 0.1 && ratio < 1.5, `${ratio}`)
    const [afternoon = 0, night = 0] = [later[8]?.ratio, later[0]?.ratio].toSorted((a = 0, b = 0) => b - a)
    t.ok(night < afternoon * 0.75, `${afternoon} at its height and ${night} at night`)
  })

  await t.test('the forecast of a night without requests is finite', async (t) => {
    const { demand, pass, clock } = watched()
    pass(DAY, (hour) => (hour < 6 ? 0 : 100))
    pass(3 * HOUR, () => 0)
    t.ok(demand.expected(clock.ms + DAY).every(({ ratio }) => Number.isFinite(ratio)))
  })
})

await t.test('the fitted daily curve', async (t) => {
  const hours = (count: number, demandAt: (hour: number) => number) =>
    Array.from({ length: count }, (_, i) => ({ hour: i + 0.5, demand: demandAt(i + 0.5) }))

  await t.test('a daily curve needs four hours', async (t) => {
    t.equal(fitDailyDemand(hours(3, () => 1)), null)
    t.type(fitDailyDemand(hours(4, () => 1)), 'function')
  })

  await t.test('a daily curve through equal hours is flat', async (t) => {
    const curve = fitDailyDemand(hours(6, () => 7))
    for (let hour = 0; hour < 24; hour++) t.ok(Math.abs((curve?.(hour) ?? 0) - 7) < 1e-9)
  })

  await t.test('a daily curve is found from the first half of a day', async (t) => {
    const day = (hour: number) => 10 - 8 * Math.cos(((hour - 4) / 24) * 2 * Math.PI)
    const curve = fitDailyDemand(hours(14, day))
    for (let hour = 14; hour < 24; hour++) {
      const expected = curve?.(hour) ?? 0
      t.ok(Math.abs(expected - day(hour)) < 2.5, `${expected} instead of ${day(hour)} at ${hour}`)
    }
  })

  await t.test('a daily curve stays between the quietest hour and 1.5 times the busiest', async () => {
    const point = fc.record({
      hour: fc.double({ min: 0, max: 24, noNaN: true }),
      demand: fc.double({ min: 0, max: 1e6, noNaN: true }),
    })
    fc.assert(
      fc.property(
        fc.array(point, { minLength: 4, maxLength: 30 }),
        fc.double({ min: 0, max: 24, noNaN: true }),
        (seen, hour) => {
          const expected = fitDailyDemand(seen)?.(hour) ?? Number.NaN
          const demands = seen.map(({ demand }) => demand)
          if (!(expected >= Math.min(...demands) && expected <= Math.max(...demands) * 1.5)) {
            throw new Error(`${expected}`)
          }
        },
      ),
    )
  })
})
