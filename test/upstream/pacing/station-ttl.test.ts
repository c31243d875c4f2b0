import * as fc from 'fast-check'
import t from 'tap'
import { ChangeRate } from '../../../src/upstream/pacing/change-rate.ts'
import type { StationUsage } from '../../../src/upstream/pacing/station-ttl.ts'
import {
  newStationUsage,
  recordServed,
  stationTtlMs,
  usageAfterAnswer,
} from '../../../src/upstream/pacing/station-ttl.ts'

const SECOND = 1_000
const DAY = 86_400_000
const bounds = { minTtlMs: 30 * SECOND, maxTtlMs: DAY }
const ttlS = (usage: StationUsage, thetaS: number) => stationTtlMs(usage, { thetaS, ...bounds }) / SECOND

/** Served at these ages, in s. */
function servedAt(agesS: readonly number[], weight1024ths = 1024): StationUsage {
  const usage = { ...newStationUsage(), weight1024ths }
  for (const ageS of agesS) recordServed(usage, ageS * SECOND)
  return usage
}

await t.test('the TTL of a station', async (t) => {
  await t.test('is (θ / w + S) / (1 + N)', async (t) => {
    const ttls = [
      ttlS(servedAt([100, 200]), 900),
      ttlS(servedAt([]), 900),
      ttlS(servedAt([100, 200], 2048), 900),
    ]
    t.strictSame(ttls, [400, 900, 250])
  })

  await t.test('lies between CACHE_TTL and CACHE_MAX_TTL', async (t) => {
    t.strictSame([ttlS(servedAt([]), 0), ttlS(servedAt([]), 1), ttlS(servedAt([]), 1e9)], [30, 30, 86_400])
  })

  await t.test('follows the square root of θ over the request rate', async (t) => {
    const usage = newStationUsage()
    let ageS = 0
    while (ageS < ttlS(usage, 5_000)) recordServed(usage, ++ageS * SECOND)
    t.ok(Math.abs(ageS - Math.sqrt(2 * 5_000)) < 3, `${ageS} s at one request a second, not about 100`)
  })

  await t.test('is within its bounds whatever was counted', async () => {
    const usage = fc.record({
      served: fc.nat(2 ** 30),
      servedAgesS: fc.nat(2 ** 30),
      changes: fc.nat(100),
      watchedS: fc.nat(2 ** 30),
      weight1024ths: fc.integer({ min: 256, max: 4096 }),
    })
    fc.assert(
      fc.property(usage, fc.double({ min: 0, max: 1e9, noNaN: true }), (usage, thetaS) => {
        const ttl = ttlS(usage, thetaS)
        if (!(ttl >= 30 && ttl <= 86_400)) throw new Error(`${ttl} s`)
      }),
    )
  })

  await t.test(
    'of a station without requests is never above CACHE_MAX_TTL, so that it is not starved',
    async () => {
      const ages = fc.array(fc.nat(86_400), { maxLength: 50 })
      fc.assert(
        fc.property(ages, fc.double({ min: 0, max: 1e9, noNaN: true }), (ages, thetaS) => {
          if (ttlS(servedAt(ages), thetaS) > 86_400) throw new Error('starved')
        }),
      )
    },
  )
})

await t.test('what is known of a station', async (t) => {
  await t.test('counts requests and whole seconds of age until the next call', async (t) => {
    const usage = newStationUsage()
    recordServed(usage, 1_999)
    recordServed(usage, 10_000)
    t.match(usage, { served: 2, servedAgesS: 11 })
    t.match(usageAfterAnswer(usage, { differs: true, gapMs: 60_500 }, new ChangeRate()), {
      served: 0,
      servedAgesS: 0,
      changes: 1,
      watchedS: 60,
    })
  })

  await t.test('stays a small integer however often and late an answer is served', async (t) => {
    const usage = { ...newStationUsage(), served: 5, servedAgesS: 2 ** 30 - 10 }
    recordServed(usage, DAY)
    t.match(usage, { served: 5, servedAgesS: 2 ** 30 - 10 })
  })

  await t.test('is halved above 100 changes, and keeps the rate', async (t) => {
    const known = { ...newStationUsage(), changes: 100, watchedS: 36_000 }
    const after = usageAfterAnswer(known, { differs: true, gapMs: 360_000 }, new ChangeRate())
    t.match(after, { changes: 50, watchedS: 18_180 })
  })

  await t.test('takes a gap below zero for none: the older answer came from another replica', async (t) => {
    t.match(usageAfterAnswer(newStationUsage(), { differs: false, gapMs: -1 }, new ChangeRate()), {
      watchedS: 0,
    })
  })
})

await t.test('the mean rate of change', async (t) => {
  await t.test('begins with one change an hour and follows what calls find', async (t) => {
    const rate = new ChangeRate()
    t.equal(rate.perSecond, 1 / 3_600)
    rate.record(true, 3_600)
    rate.record(false, 7_200)
    t.equal(rate.perSecond, 2 / 14_400)
  })

  await t.test('forgets: after 10,000 changes a new pace is soon half of what is known', async (t) => {
    const rate = new ChangeRate()
    for (let i = 0; i < 20_000; i++) rate.record(true, 3_600)
    for (let i = 0; i < 10_000; i++) rate.record(true, 360)
    t.ok(rate.perSecond > 1.5 / 3_600, `${rate.perSecond * 3_600} changes an hour`)
  })
})
