import t from 'tap'
import { QuotaCheck } from '../src/app-quota-check.ts'
import type { QuotaCheckDeps } from '../src/app-quota-check.ts'
import type { QuotaShortfall } from '../src/events.ts'
import { TestClock } from './support/clock.ts'

const HOUR = 3_600_000
const MINUTE = 60_000

interface Quota {
  readonly limit: number
  readonly per: 'day' | 'month'
}

/** A cache with so many stations, all used an hour ago. */
function setup(stations: number, { limit, per }: Quota, maxTtlMs: number) {
  const clock = new TestClock()
  const entries = Array.from({ length: stations }, () => ({ lastUsedAt: clock.now() - HOUR }))
  const reported: QuotaShortfall[] = []
  const resetAtMs = per === 'day' ? Date.UTC(2026, 0, 16) : Date.UTC(2026, 1)
  const deps = {
    config: { cache: { ttlMs: 30_000, maxTtlMs } },
    clock,
    observer: { quotaTooSmall: (shortfall: QuotaShortfall) => reported.push(shortfall) },
    store: {
      recent: () => entries,
      get stations() {
        return entries.length
      },
    },
    quota: () => ({ ledger: { limit, per, resetAtMs } }),
  } as unknown as QuotaCheckDeps
  return { clock, entries, reported, check: new QuotaCheck(deps) }
}

await t.test('the check of the quota against the stations in use', async (t) => {
  const perDay = (limit: number) => ({ limit, per: 'day' }) as const

  await t.test('the quota is too small where a call per CACHE_MAX_TTL takes more than it has', async (t) => {
    const { check, reported } = setup(1_000, perDay(2_500), 6 * HOUR)
    check.start()
    const shortfall = { stations: 1_000, callsNeeded: 4_000, quota: '2500/day', maxTtlMs: 6 * HOUR }
    t.strictSame([check.shortfall, reported], [shortfall, [shortfall]])
  })

  await t.test('the quota suffices up to one station per affordable call', async (t) => {
    const atLimit = setup(1_000, perDay(1_000), 24 * HOUR)
    const over = setup(1_001, perDay(1_000), 24 * HOUR)
    atLimit.check.start()
    over.check.start()
    t.strictSame([atLimit.check.shortfall, over.check.shortfall?.callsNeeded], [null, 1_001])
  })

  await t.test('a month has as many days as this one', async (t) => {
    const { check } = setup(100, { limit: 3_099, per: 'month' }, 24 * HOUR)
    check.start()
    t.equal(check.shortfall?.callsNeeded, 3_100)
  })

  await t.test('stations not used within CACHE_MAX_TTL do not count', async (t) => {
    const { check, clock } = setup(1_000, perDay(100), 2 * HOUR)
    check.start()
    const before = check.shortfall?.stations
    await clock.advance(2 * HOUR)
    t.strictSame([before, check.shortfall], [1_000, null])
  })

  await t.test(
    'the quota is checked every minute and reported once, until it was large enough',
    async (t) => {
      const { check, clock, entries, reported } = setup(10, perDay(10), 24 * HOUR)
      check.start()
      const add = () => void entries.push({ lastUsedAt: clock.now() })
      const counts = [reported.length]
      for (const change of [add, () => {}, () => void entries.pop(), add]) {
        change()
        await clock.advance(MINUTE)
        counts.push(reported.length)
      }
      check.stop()
      t.strictSame([counts, clock.pending], [[0, 1, 1, 1, 2], 0])
    },
  )

  await t.test('another start checks at once, and there is still one check a minute', async (t) => {
    const { check, clock, entries, reported } = setup(10, perDay(10), 24 * HOUR)
    check.start()
    entries.push({ lastUsedAt: clock.now() })
    check.start()
    const pending = clock.pending
    check.stop()
    t.strictSame([reported.length, pending, clock.pending], [1, 1, 0])
  })
})
