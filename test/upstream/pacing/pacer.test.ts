import * as fc from 'fast-check'
import t from 'tap'
import { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { fitDailyDemand } from '../../../src/upstream/pacing/diurnal-fit.ts'
import { DemandForecast } from '../../../src/upstream/pacing/demand-forecast.ts'
import type { PacerOptions } from '../../../src/upstream/pacing/pacer.ts'
import { createPacer } from '../../../src/upstream/pacing/pacer.ts'

const SECOND = 1_000
const HOUR = 3_600_000
const DAY = 24 * HOUR
const NEVER = Number.NEGATIVE_INFINITY
const MIDNIGHT = Date.UTC(2026, 0, 16)

/** Stations with equal demand, behind a minimal cache. */
function town(limit: number, { ttlMs = 30_000, maxTtlMs = 300_000 }: Partial<PacerOptions> = {}) {
  const clock = { ms: MIDNIGHT, now: () => clock.ms - MIDNIGHT, wall: () => clock.ms }
  const ledger = new LocalQuota({ limit, per: 'day' }, clock)
  const stations: { usedAt: number; fetchedAt: number }[] = []
  let lookups = 0
  const usage = {
    get lookups() {
      return lookups
    },
    *sinceLastUse() {
      for (const { usedAt, fetchedAt } of stations) if (fetchedAt !== NEVER) yield clock.now() - usedAt
    },
  }
  const pacing = createPacer({ ttlMs, maxTtlMs }, { ledger, usage: () => usage, clock })
  const request = (i: number) => {
    lookups++
    const now = clock.now()
    const known = (stations[i] ??= { usedAt: now, fetchedAt: NEVER })
    known.usedAt = now
    if (now - known.fetchedAt < pacing.ttlMs()) return true
    if (ledger.acquire(known.fetchedAt !== NEVER, pacing.isRationing()) > 0) return false
    known.fetchedAt = now
    return true
  }
  /** One request for each station every ten seconds. @returns what was in effect meanwhile */
  const live = (ms: number, count: number) => {
    const seen = { least: Number.POSITIVE_INFINITY, most: 0, rationed: 0, rounds: 0 }
    for (const end = clock.ms + ms; clock.ms < end; clock.ms += 10 * SECOND) {
      for (let i = 0; i < count; i++) request(i)
      seen.least = Math.min(seen.least, pacing.ttlMs())
      seen.most = Math.max(seen.most, pacing.ttlMs())
      seen.rationed += pacing.isRationing() ? 1 : 0
      seen.rounds++
    }
    return seen
  }
  return { ttlMs: pacing.ttlMs, ledger, clock, request, live }
}

await t.test('the TTL in effect', async (t) => {
  await t.test('the TTL is CACHE_TTL while the quota is ample', async (t) => {
    const { live, ttlMs, ledger } = town(600_000)
    t.equal(ttlMs(), 30_000, 'before anything is asked')
    live(10 * SECOND, 100)
    t.match(live(6 * HOUR, 100), { least: 30_000, most: 30_000, rationed: 0 })
    t.ok(Math.abs(ledger.spent - 6 * 120 * 100) <= 100, `${ledger.spent}: 120 calls an hour for each`)
  })

  await t.test('the TTL is stretched until the quota lasts the day', async (t) => {
    const limit = 100 * 24 * 60
    const { live, ledger, clock } = town(limit)
    live(HOUR, 100)
    const { least, most, rationed } = live(22 * HOUR, 100)
    t.ok(least > 40_000 && most < 75_000, `${least} to ${most} ms: one minute is what can be afforded`)
    t.equal(rationed, 0, 'nothing is rationed')
    live(58 * 60_000, 100)
    t.ok(ledger.remaining > 0, `${MIDNIGHT + DAY - clock.ms} ms before the end some is left`)
    t.ok(ledger.spent > limit * 0.9, `and ${ledger.spent} of ${limit} is used`)
  })

  await t.test(
    'the TTL returns to CACHE_TTL in a new period, or when fewer stations are in use',
    async (t) => {
      const { live, ttlMs, clock } = town(100 * 24 * 60)
      live(2 * HOUR, 100)
      t.ok(ttlMs() > 40_000)
      live(2 * HOUR, 10)
      t.equal(ttlMs(), 30_000)
      clock.ms = MIDNIGHT + DAY - 10 * 60_000
      live(5 * 60_000, 100)
      t.equal(ttlMs(), 30_000, 'plenty is left for the last minutes')
    },
  )

  await t.test('the TTL is right after a pause of requests over midnight', async (t) => {
    const { live, request, clock } = town(100 * 24 * 60)
    live(15 * 60_000, 100)
    clock.ms += DAY
    for (let i = 0; i < 100; i++) request(i)
    live(60_000, 100)
    const { least, most } = live(30 * 60_000, 100)
    t.ok(least > 45_000 && most < 75_000, `${least} to ${most} ms: one minute is what can be afforded`)
  })

  await t.test('calls are rationed at CACHE_MAX_TTL when even that is too short', async (t) => {
    const { live, ledger } = town(1_000)
    live(10 * SECOND, 300)
    t.ok(ledger.spent <= 101, `${ledger.spent} at once, before anything was known of the demand`)
    const { least, most, rationed, rounds } = live(6 * HOUR, 300)
    t.strictSame([least, most, rationed], [300_000, 300_000, rounds])
    t.ok(ledger.spent < 350, `a quarter of the quota for a quarter of the day, not ${ledger.spent}`)
  })

  await t.test('with a TTL of 0 the demand itself is rationed over the day', async (t) => {
    const { live, ledger } = town(20_000, { ttlMs: 0, maxTtlMs: 0 })
    live(10 * SECOND, 10)
    const { rationed, rounds } = live(12 * HOUR, 10)
    t.equal(rationed, rounds, 'one call a second is four times too many')
    t.ok(ledger.spent < 11_500, `half of the quota for half of the day, not ${ledger.spent}`)
    const ample = town(100_000, { ttlMs: 0, maxTtlMs: 0 })
    ample.live(10 * SECOND, 10)
    t.match(ample.live(12 * HOUR, 10), { rationed: 0 }, 'and not at all while it can be afforded')
  })

  await t.test('a TTL of 0 is never stretched', async (t) => {
    t.match(town(1_000, { ttlMs: 0 }).live(HOUR, 100), { least: 0, most: 0 })
    t.match(town(1_000, { ttlMs: 0, maxTtlMs: 0 }).live(HOUR, 100), { least: 0, most: 0 })
  })

  await t.test('the TTL is never shorter than CACHE_TTL, even if CACHE_MAX_TTL is', async (t) => {
    const { live } = town(1_000, { ttlMs: 60_000, maxTtlMs: 10_000 })
    t.match(live(HOUR, 100), { least: 60_000, most: 60_000 })
  })

  await t.test('the TTL stays within its bounds and the quota is kept at any demand', async () => {
    const busy = fc.record({ ms: fc.integer({ min: 5_000, max: HOUR }), stations: fc.nat({ max: 30 }) })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50_000 }),
        fc.integer({ min: 0, max: 120_000 }),
        fc.integer({ min: 0, max: 600_000 }),
        fc.array(busy, { maxLength: 4 }),
        (limit, shortest, longest, phases) => {
          const { live, ledger } = town(limit, { ttlMs: shortest, maxTtlMs: longest })
          for (const { ms, stations } of phases) {
            const { least, most } = live(ms, stations)
            if (!(least >= shortest && most <= Math.max(shortest, longest)))
              throw new Error(`${least}, ${most}`)
            if (ledger.spent > limit) throw new Error('over the quota')
          }
        },
      ),
      { numRuns: 30 },
    )
  })

  await t.test('the TTL is computed at most every five seconds', async (t) => {
    const { live, ttlMs, clock, request } = town(10_000)
    live(HOUR, 10)
    const before = ttlMs()
    for (let i = 0; i < 500; i++) request(i)
    clock.ms += 4_999 - 10_000 // the last round was ten seconds ago
    t.equal(ttlMs(), before)
    clock.ms += 10_001
    t.ok(ttlMs() > before, `${ttlMs()} instead of ${before} ms`)
  })
})

await t.test('the wall clock', async (t) => {
  await t.test('the TTL stays within its bounds when the wall clock is set, and recovers', async (t) => {
    const wall = { offset: 0 }
    const clock = { ms: 0, now: () => clock.ms, wall: () => MIDNIGHT + clock.ms + wall.offset }
    const ledger = new LocalQuota({ limit: 288_000, per: 'day' }, clock)
    let lookups = 0
    const usage = {
      get lookups() {
        return lookups
      },
      sinceLastUse: () => Array.from({ length: 50 }, () => 0),
    }
    const pacing = createPacer({ ttlMs: 30_000, maxTtlMs: 300_000 }, { ledger, usage: () => usage, clock })
    const live = (ms: number) => {
      for (const end = clock.ms + ms; clock.ms < end; clock.ms += 5_000) {
        lookups += 50
        const present = pacing.ttlMs()
        if (!(present >= 30_000 && present <= 300_000)) t.fail(`${present} ms`)
      }
    }
    live(2 * HOUR)
    for (const jump of [-HOUR, HOUR, -30 * DAY, 30 * DAY, 40 * DAY]) {
      wall.offset += jump
      live(HOUR)
    }
    live(DAY)
    t.equal(pacing.ttlMs(), 30_000)
  })
})

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
