import * as fc from 'fast-check'
import t from 'tap'
import { Price } from '../../../src/upstream/pacing/price.ts'
import { StationPacing } from '../../../src/upstream/pacing/station-pacing.ts'
import type { StationState } from '../../../src/source.ts'
import { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { initiallyReleased } from '../../../src/upstream/state/quota-period.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const MIDNIGHT = Date.UTC(2026, 0, 16)
/** CACHE_TTL and CACHE_MAX_TTL. */
const TTLS = { ttlMs: 30 * SECOND, maxTtlMs: DAY }
const MAX_THETA_S = 400 * 86_400

type Per = 'day' | 'month'

/** A price that is steered by numbers set by hand. */
function byHand({
  limit = 10_000,
  per = 'day',
  ttls = TTLS,
}: { limit?: number; per?: Per; ttls?: typeof TTLS } = {}) {
  const clock = { ms: MIDNIGHT, now: () => clock.ms - MIDNIGHT, wall: () => clock.ms }
  const quota = { per, spent: 0, remaining: limit, resetAtMs: MIDNIGHT + (per === 'day' ? DAY : 16 * DAY) }
  const counts = { lookups: 0 }
  const price = new Price(ttls, { quota, clock, lookups: () => counts.lookups })
  /** One request a second, and as many calls an hour, until the time is over; the price after it. */
  const pass = (ms: number, callsPerHour: number) => {
    for (let passed = 0; passed < ms; passed += 5 * SECOND) {
      clock.ms += 5 * SECOND
      counts.lookups += 5
      quota.spent += (callsPerHour * 5) / 3_600
      quota.remaining -= (callsPerHour * 5) / 3_600
      price.thetaS()
    }
    return price.thetaS()
  }
  return { price, clock, quota, counts, pass }
}

/** Stations behind a cache as simple as can be, all asked for every `everyS` seconds. */
function town({ limit, per = 'day', ttls = TTLS }: { limit: number; per?: Per; ttls?: typeof TTLS }) {
  const clock = { ms: MIDNIGHT, steady: 0, now: () => clock.steady, wall: () => clock.ms }
  const quota = new LocalQuota({ limit, per }, clock)
  const seen = { lookups: 0, calls: 0, refused: 0, oldestMs: 0, mostSpent: 0 }
  const price = new Price(ttls, { quota, clock, lookups: () => seen.lookups })
  const pacing = new StationPacing(ttls, { price, clock })
  const entries: { receivedAt: number; state: StationState }[] = []
  const ask = (i: number) => {
    seen.lookups++
    const entry = entries[i]
    const ageMs = entry === undefined ? Number.POSITIVE_INFINITY : clock.steady - entry.receivedAt
    if (entry !== undefined && ageMs < pacing.ttlMs(entry.state)) {
      seen.oldestMs = Math.max(seen.oldestMs, ageMs)
      pacing.served(entry.state, ageMs)
      return
    }
    if (quota.acquire(entry !== undefined, price.isRationing()) > 0) {
      seen.refused++
      return
    }
    seen.calls++
    seen.mostSpent = Math.max(seen.mostSpent, quota.spent)
    const state =
      entry === undefined ? pacing.first() : pacing.after(entry.state, { differs: i % 2 === 0, gapMs: ageMs })
    entries[i] = { receivedAt: clock.steady, state }
  }
  /** Calls made in this time. */
  const live = (ms: number, stations: number, everyS = 10) => {
    const before = seen.calls
    for (const end = clock.steady + ms; clock.steady < end;) {
      for (let i = 0; i < stations; i++) ask(i)
      clock.steady += everyS * SECOND
      clock.ms += everyS * SECOND
    }
    return seen.calls - before
  }
  return { clock, quota, price, pacing, seen, live }
}

/** Lookups of cold stations as fast as that, after a time with one request a second that needs no call. */
function burst({
  limit,
  ms,
  everyMs,
  before = 0,
}: {
  limit: number
  ms: number
  everyMs: number
  before?: number
}) {
  const clock = { ms: MIDNIGHT, now: () => clock.ms - MIDNIGHT, wall: () => clock.ms }
  const quota = new LocalQuota({ limit, per: 'day' }, clock)
  const counts = { lookups: 0 }
  const price = new Price(TTLS, { quota, clock, lookups: () => counts.lookups })
  for (let passed = 0; passed < before; passed += SECOND) {
    clock.ms += SECOND
    counts.lookups++
    price.thetaS()
  }
  let made = 0
  for (let passed = 0; passed < ms; passed += everyMs) {
    counts.lookups++
    if (quota.acquire(false, price.isRationing()) === 0) made++
    clock.ms += everyMs
  }
  return { made, price }
}

await t.test('the price of a call', async (t) => {
  await t.test('begins with CACHE_TTL, and calls are rationed until the demand is known', async (t) => {
    const { price, clock, counts } = byHand()
    const seen = [price.isRationing()]
    counts.lookups = 10
    for (const ms of [500, 499, 1]) {
      clock.ms += ms
      seen.push(price.isRationing())
    }
    t.equal(byHand().price.thetaS(), 30)
    t.strictSame(seen, [true, true, true, false], 'known by the second update with demand')
  })

  await t.test('is the same for ten minutes without a request: nothing is known of the demand', async (t) => {
    const { price, clock, counts } = byHand()
    clock.ms += 10 * MINUTE
    counts.lookups = 1
    t.strictSame([price.isRationing(), price.isDemandKnown], [true, false])
  })

  for (const [limit, released] of [
    [250, 62],
    [1_000, 100],
    [10_000, 500],
  ] as const) {
    await t.test(
      `releases no more to a burst after the start than at once, with ${limit} a day`,
      async (t) => {
        const { made } = burst({ limit, ms: 50 * SECOND, everyMs: 20 })
        const evenly = (limit * 50) / 86_400
        t.ok(made >= released && made <= released + evenly + 1, `${made} calls`)
      },
    )
  }

  await t.test(
    'lets a later burst have about a hundred calls more, by which it is at its upper end',
    async (t) => {
      const { made, price } = burst({ limit: 10_000, ms: 10 * SECOND, everyMs: 5, before: 2 * HOUR })
      t.equal(price.thetaS(), MAX_THETA_S)
      const released = 500 + (9_500 * 2) / 24
      t.ok(made <= released + 110, `${made} of 2,000 calls, ${released} were released`)
    },
  )

  for (const limit of [1, 3, 20, 100, 400]) {
    await t.test(
      `releases no more than as much again to a burst after a quiet start, with ${limit} a day`,
      async (t) => {
        const released = initiallyReleased(limit)
        const { made } = burst({ limit, ms: 10 * SECOND, everyMs: 10, before: 2 * MINUTE })
        t.ok(
          made >= Math.floor(released) && made <= 2 * released + 1,
          `${made} calls, ${released} were released`,
        )
      },
    )
  }

  await t.test(
    'releases nothing again to a process that begins when a small quota has nothing released',
    async (t) => {
      const clock = { ms: MIDNIGHT, now: () => clock.ms - MIDNIGHT, wall: () => clock.ms }
      const quota = new LocalQuota({ limit: 20, per: 'day' }, clock)
      for (let i = 0; i < 5; i++) quota.acquire(false, true)
      const counts = { lookups: 0 }
      const price = new Price(TTLS, { quota, clock, lookups: () => counts.lookups })
      const waits = []
      for (let ms = 0; ms < 100 * SECOND; ms += 200) {
        clock.ms += 200
        counts.lookups++
        waits.push(quota.acquire(false, price.isRationing()))
      }
      t.strictSame(
        waits.filter((wait) => wait === 0),
        [],
      )
    },
  )

  await t.test('is updated after 0.5, 1, 2 and 5 s, and every 5 s from then on', async (t) => {
    const { price, clock, counts } = byHand()
    const updates: number[] = []
    let before = price.thetaS()
    for (let ms = 100; ms <= 20_000; ms += 100) {
      clock.ms += 100
      counts.lookups++
      const theta = price.thetaS()
      if (theta !== before) updates.push(ms)
      before = theta
    }
    t.strictSame(updates, [500, 1_000, 2_000, 5_000, 10_000, 15_000, 20_000])
  })

  await t.test('rises while more calls are made than planned, and falls while fewer are', async (t) => {
    const { pass } = byHand()
    const start = pass(10 * MINUTE, 400)
    const raised = pass(HOUR, 800)
    const lowered = pass(2 * HOUR, 100)
    t.ok(raised > 2 * start, `from ${start} to ${raised} s`)
    t.ok(lowered < raised / 2, `from ${raised} to ${lowered} s`)
  })

  await t.test('is at its lower end while the quota affords more than is asked for', async (t) => {
    const { pass, price } = byHand({ limit: 1_000_000 })
    t.equal(pass(10 * MINUTE, 3_600), 1)
    t.equal(price.isRationing(), false)
  })

  await t.test('is at its upper end, and calls are rationed, where CACHE_MAX_TTL is too short', async (t) => {
    const { pass, price } = byHand({ limit: 1_000 })
    t.equal(pass(6 * HOUR, 150), MAX_THETA_S)
    t.equal(price.isRationing(), true)
  })

  await t.test(
    'changes nothing where CACHE_MAX_TTL is CACHE_TTL, so that calls over plan are rationed',
    async (t) => {
      const { price, counts, quota, clock } = byHand({ limit: 20, ttls: { ttlMs: 200, maxTtlMs: 200 } })
      counts.lookups = 5
      quota.spent = 5
      quota.remaining = 15
      const seen = new Set<string>()
      for (let ms = 0; ms < 20_000; ms += 500) {
        clock.ms += 500
        counts.lookups++
        seen.add(`${price.thetaS()} ${price.isRationing()}`)
      }
      t.strictSame([...seen], ['0.2 true'])
    },
  )

  await t.test('takes a refund for less than no call', async (t) => {
    const { price, quota, clock, pass } = byHand()
    pass(MINUTE, 400)
    quota.spent -= 1
    clock.ms += 5 * SECOND
    t.ok(price.thetaS() > 0)
  })

  await t.test('does not fall in an idle night', async (t) => {
    const { pass, price, clock } = byHand()
    const evening = pass(3 * HOUR, 500)
    clock.ms += 8 * HOUR
    const morning = price.thetaS()
    t.ok(morning > evening / 2, `from ${evening} to ${morning} s`)
  })

  await t.test('is steered for the rest of a month as for the rest of a day', async (t) => {
    const { pass } = byHand({ limit: 300_000, per: 'month' })
    const start = pass(10 * MINUTE, 780)
    t.ok(pass(HOUR, 1_600) > start)
    t.ok(pass(6 * HOUR, 200) < start)
  })

  await t.test('tells what will be left at the reset: never less than nothing', async (t) => {
    const over = byHand()
    over.pass(2 * HOUR, 1_000)
    const under = byHand()
    under.pass(2 * HOUR, 100)
    const few = under.price.projectedRemaining
    t.equal(over.price.projectedRemaining, 240, '3 % of the 8,000 that remain when far too many are made')
    t.ok(Math.abs(few - (10_000 - 24 * 100)) < 100, `${few} when few are made`)
  })

  await t.test(
    'tells what will be left only after ten minutes: a cold start is not the rest of the day',
    async (t) => {
      const { price, pass } = byHand()
      pass(5 * MINUTE, 3_600)
      const early = [price.isProjected, price.projectedRemaining]
      pass(5 * MINUTE, 3_600)
      t.strictSame([early, price.isProjected], [[false, 9_700], true])
    },
  )

  await t.test('continues with the price and the demand that an earlier process has learned', async (t) => {
    const before = byHand()
    before.pass(24 * HOUR, 390)
    const { price } = byHand()
    price.restore(before.price.learned())
    t.strictSame([price.thetaS(), price.isProjected], [before.price.thetaS(), true])
  })

  await t.test('does not take over a price that was found under another quota', async (t) => {
    const before = byHand({ limit: 2_500 })
    before.pass(24 * HOUR, 390)
    const { price } = byHand()
    price.restore(before.price.learned())
    t.equal(price.thetaS(), 30)
  })

  await t.test('takes calls that a store had counted before for none of this moment', async (t) => {
    const { price, clock, quota, counts } = byHand()
    counts.lookups = 10
    Object.assign(quota, { account: 'a', spent: 5_000, remaining: 5_000 })
    clock.ms += 500
    t.ok(price.thetaS() < 31, `${price.thetaS()} s`)
  })

  await t.test('counts its own calls among those that a store had counted before', async (t) => {
    const { price, clock, quota, counts } = byHand({ limit: 20 })
    clock.ms += 3 * SECOND
    price.thetaS()
    Object.assign(quota, { account: 'a', spentBefore: 4, spent: 5, remaining: 15 })
    for (let i = 0; i < 3; i++) {
      counts.lookups++
      clock.ms += 1
      price.thetaS()
    }
    t.equal(price.isRationing(), true, 'a call three seconds after the start may be the first of a burst')
  })

  await t.test('moves towards that of another replica, and is published', async (t) => {
    const clock = { ms: MIDNIGHT, now: () => clock.ms - MIDNIGHT, wall: () => clock.ms }
    const quota = { per: 'day' as const, spent: 0, remaining: 10_000, resetAtMs: MIDNIGHT + DAY }
    const published: number[] = []
    let lookups = 0
    const shared = { latestThetaS: () => 3_000, publishTheta: (thetaS: number) => published.push(thetaS) }
    const price = new Price(TTLS, { quota, clock, lookups: () => lookups, shared })
    for (let i = 0; i < 10; i++) {
      clock.ms += 5 * SECOND
      lookups += 5
      price.thetaS()
    }
    t.ok(price.thetaS() > 2_000, `${price.thetaS()} s`)
    t.equal(published.at(-1), price.thetaS())
  })

  await t.test('of 0 with CACHE_TTL=0: nothing is stored, and calls over plan are rationed', async (t) => {
    const { pass, price } = byHand({ ttls: { ttlMs: 0, maxTtlMs: 0 } })
    t.equal(pass(HOUR, 3_600), 0)
    t.equal(price.isRationing(), true)
    const ample = byHand({ limit: 1_000_000, ttls: { ttlMs: 0, maxTtlMs: 0 } })
    ample.pass(HOUR, 3_600)
    t.equal(ample.price.isRationing(), false)
  })
})

await t.test('a quota that is paced', async (t) => {
  await t.test('is used to at least 97 % and never exceeded, day after day', async (t) => {
    const { live, seen } = town({ limit: 2_500 })
    const days = [live(DAY, 100), live(DAY, 100), live(DAY, 100)]
    t.ok(
      days.every((calls) => calls <= 2_500 && calls >= 2_425),
      `${days.join(', ')} calls`,
    )
    t.ok(
      seen.refused < 26,
      `${seen.refused} of 2,592,000 requests refused, 1 in 100,000; this cache serves no stale answers`,
    )
  })

  await t.test('leaves CACHE_TTL in force where it is ample', async (t) => {
    const { live, seen, price } = town({ limit: 1_000_000 })
    live(HOUR, 100)
    const calls = live(HOUR, 100)
    t.ok(calls >= 100 * 120 * 0.95, `${calls} calls, 12,000 at CACHE_TTL`)
    t.strictSame([price.thetaS(), seen.refused], [1, 0])
  })

  await t.test('is not flooded after the reset', async (t) => {
    const { live } = town({ limit: 2_500 })
    live(DAY, 100)
    const firstHalfHour = live(30 * MINUTE, 100)
    t.ok(firstHalfHour < 2 * (2_500 / 48), `${firstHalfHour} calls, 52 on average`)
  })

  await t.test('is not flooded after the end of a month', async (t) => {
    const { live, clock } = town({ limit: 75_000, per: 'month' })
    clock.ms = Date.UTC(2026, 0, 31, 12)
    live(12 * HOUR, 100)
    const firstHour = live(HOUR, 100)
    t.ok(firstHour < 3 * (75_000 / 28 / 24), `${firstHour} calls, 112 on average`)
  })

  await t.test('survives a wall clock that is set back, and one that is set forward', async (t) => {
    const { live, clock, seen } = town({ limit: 5_000 })
    live(6 * HOUR, 100)
    clock.ms -= 3 * HOUR
    live(6 * HOUR, 100)
    t.ok(seen.mostSpent <= 5_000)
    clock.ms += 2 * DAY
    const calls = live(6 * HOUR, 100)
    t.ok(calls > 300 && calls < 3_500, `${calls} calls in a quarter of a day`)
  })

  await t.test('is not exceeded, and no station is starved, whatever is asked for', async () => {
    const busy = fc.record({ minutes: fc.integer({ min: 1, max: 300 }), stations: fc.nat({ max: 20 }) })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20_000 }),
        fc.integer({ min: 1, max: 120 }),
        fc.integer({ min: 0, max: 7_200 }),
        fc.array(busy, { maxLength: 4 }),
        (limit, ttlS, longerS, phases) => {
          const ttls = { ttlMs: ttlS * SECOND, maxTtlMs: (ttlS + longerS) * SECOND }
          const { live, seen } = town({ limit, ttls })
          for (const { minutes, stations } of phases) live(minutes * MINUTE, stations, 15)
          if (seen.mostSpent > limit) throw new Error(`${seen.mostSpent} calls of ${limit}`)
          if (seen.oldestMs > ttls.maxTtlMs) throw new Error(`fresh after ${seen.oldestMs} ms`)
        },
      ),
      { numRuns: 20 },
    )
  })
})
