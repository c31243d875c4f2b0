import * as fc from 'fast-check'
import t from 'tap'
import type { QuotaLimit } from '../../../src/upstream/state/quota-ledger.ts'
import { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { quotaContract } from './quota-ledger.contract.ts'
import { TestClock } from '../../support/clock.ts'
import { anyDays, checkDays, clockAt } from '../../support/fuzz-clocks.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MIDNIGHT = Date.UTC(2026, 0, 16)

function setup(ms: number, options: QuotaLimit) {
  const clock = clockAt(ms)
  const ledger = new LocalQuota(options, clock)
  return {
    ledger,
    clock,
    /** Acquires as many calls as possible. @returns their number */
    acquireAll: (hasStale = false, rationed = false) => {
      let taken = 0
      while (ledger.acquire(hasStale, rationed) === 0) taken++
      return taken
    },
  }
}

await t.test('periods', async (t) => {
  await t.test('a period is a calendar day or month in UTC in every time zone', async (t) => {
    const before = process.env['TZ']
    t.teardown(() => {
      if (before === undefined) delete process.env['TZ']
      else process.env['TZ'] = before
    })
    for (const zone of ['UTC', 'America/New_York', 'Asia/Tokyo']) {
      process.env['TZ'] = zone
      for (const [per, now, reset] of [
        ['day', '2026-01-15T00:00:00.000Z', '2026-01-16T00:00:00.000Z'],
        ['day', '2026-01-15T23:59:59.999Z', '2026-01-16T00:00:00.000Z'],
        ['day', '2026-12-31T12:00:00.000Z', '2027-01-01T00:00:00.000Z'],
        ['day', '2028-02-28T12:00:00.000Z', '2028-02-29T00:00:00.000Z'],
        ['day', '2100-02-28T12:00:00.000Z', '2100-03-01T00:00:00.000Z'],
        ['day', '2026-03-29T00:30:00.000Z', '2026-03-30T00:00:00.000Z'],
        ['month', '2026-01-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z'],
        ['month', '2026-01-31T23:59:59.999Z', '2026-02-01T00:00:00.000Z'],
        ['month', '2027-02-10T12:00:00.000Z', '2027-03-01T00:00:00.000Z'],
        ['month', '2028-02-28T12:00:00.000Z', '2028-03-01T00:00:00.000Z'],
        ['month', '2028-02-29T23:59:59.999Z', '2028-03-01T00:00:00.000Z'],
        ['month', '2026-12-31T23:59:59.999Z', '2027-01-01T00:00:00.000Z'],
      ] as const) {
        const { ledger } = setup(Date.parse(now), { limit: 1, per })
        t.equal(new Date(ledger.resetAtMs).toISOString(), reset, `${per} of ${now} in ${zone}`)
      }
    }
  })

  await t.test(
    'a period has its calls and no more, and the next begins at its first millisecond',
    async (t) => {
      const { ledger, clock, acquireAll } = setup(MIDNIGHT - 10 * HOUR, { limit: 3, per: 'day' })
      t.equal(acquireAll(), 3)
      t.equal(ledger.remaining, 0)
      t.equal(ledger.acquire(false, false), 10 * HOUR, 'how long it takes until there are calls again')
      clock.ms = MIDNIGHT - 1
      t.equal(ledger.acquire(false, false), 1)
      clock.ms = MIDNIGHT
      t.equal(ledger.remaining, 3)
      t.equal(ledger.resetAtMs, MIDNIGHT + DAY)
      t.equal(acquireAll(), 3)
    },
  )

  await t.test('a period without calls ends too', async (t) => {
    const { ledger, clock, acquireAll } = setup(MIDNIGHT, { limit: 3, per: 'day' })
    acquireAll()
    clock.ms = MIDNIGHT + 5 * DAY + HOUR
    t.equal(acquireAll(), 3)
    t.equal(ledger.resetAtMs, MIDNIGHT + 6 * DAY)
  })

  await t.test('a period is granted once, even if the wall clock is set back and forth', async (t) => {
    const { clock, acquireAll } = setup(MIDNIGHT + HOUR, { limit: 200, per: 'day' })
    t.equal(acquireAll(), 200)
    const taken = [-2 * HOUR, 2 * HOUR, -3 * DAY, 3 * DAY, DAY, -DAY, 365 * DAY, -365 * DAY, -1, 1].map(
      (by) => {
        clock.jump(by)
        return acquireAll()
      },
    )
    t.strictSame(new Set(taken), new Set([0]))
    clock.ms = MIDNIGHT + DAY
    t.equal(acquireAll(), 200)
  })

  await t.test('the next true midnight opens a quota that a wrong clock has left spent', async (t) => {
    for (const [name, startAt, jump] of [
      ['that was ahead at the start', MIDNIGHT + HOUR + 730 * DAY, -730 * DAY],
      ['that began in 1970', HOUR, MIDNIGHT],
      ['that was a day ahead at the start', MIDNIGHT + HOUR + DAY, -DAY],
    ] as const) {
      const { ledger, clock, acquireAll } = setup(startAt, { limit: 60, per: 'day' })
      t.equal(acquireAll(), 60)
      clock.jump(jump)
      t.equal(clock.ms, MIDNIGHT + HOUR)
      t.equal(acquireAll(), 0, `a clock ${name}`)
      t.equal(ledger.period, '2026-01-16/day')
      t.ok(ledger.acquire(false, false) <= DAY)
      clock.ms = MIDNIGHT + DAY - 1
      t.equal(acquireAll(), 0)
      clock.ms = MIDNIGHT + DAY
      t.equal(acquireAll(), 60, `a clock ${name}`)
    }
  })

  await t.test('calls in a period that a clock reached too early count for the true one', async (t) => {
    const { clock, acquireAll } = setup(MIDNIGHT + DAY - 30_000, { limit: 60, per: 'day' })
    t.equal(acquireAll(), 60)
    clock.jump(40_000)
    t.equal(acquireAll(), 60, 'within a minute of midnight both clocks agree')
    clock.jump(-40_000)
    t.equal(acquireAll(), 0)
    clock.ms = MIDNIGHT + DAY
    t.equal(acquireAll(), 60)
  })

  await t.test('a wall clock that was corrected is followed after a minute', async (t) => {
    for (const [afterMs, taken] of [
      [59_999, 0],
      [60_000, 60],
    ] as const) {
      const { ledger, clock, acquireAll } = setup(MIDNIGHT + 12 * HOUR, { limit: 60, per: 'day' })
      acquireAll()
      clock.jump(3 * HOUR)
      ledger.acquire(false, false)
      clock.ms += afterMs
      ledger.acquire(false, false)
      clock.ms = MIDNIGHT + DAY
      t.equal(acquireAll(), taken)
    }
  })

  await t.test('a machine that sleeps through every midnight gets every second period', async (t) => {
    const { ledger, clock, acquireAll } = setup(MIDNIGHT + 12 * HOUR, { limit: 60, per: 'day' })
    const taken = []
    for (let day = 0; day < 4; day++) {
      ledger.acquire(false, false)
      clock.ms += HOUR
      taken.push(acquireAll())
      clock.ms += 7 * HOUR
      ledger.acquire(false, false)
      clock.jump(16 * HOUR)
    }
    t.strictSame(taken, [59, 0, 60, 0])
  })

  await t.test('a day never has more calls than the limit', async () => {
    fc.assert(fc.property(anyDays, checkDays), { numRuns: 1_000 })
  })
})

await t.test('refunds', async (t) => {
  await t.test('a refunded call can be acquired again', async (t) => {
    const { ledger, acquireAll } = setup(MIDNIGHT, { limit: 2, per: 'day' })
    acquireAll()
    ledger.refund(ledger.period)
    t.equal(ledger.spent, 1)
    t.equal(acquireAll(), 1)
  })

  await t.test('a refund of a call of the last period does not change the current one', async (t) => {
    const { ledger, clock, acquireAll } = setup(MIDNIGHT - 1, { limit: 2, per: 'day' })
    const { period } = ledger
    ledger.acquire(false, false)
    clock.ms = MIDNIGHT
    ledger.refund(period)
    t.equal(acquireAll(), 2, 'nothing to refund yet')
    ledger.refund(period)
    t.equal(acquireAll(), 0, 'what this period has spent stays spent')
  })

  await t.test('a refund of a call that a clock ahead named tomorrow does not change tomorrow', async (t) => {
    const { ledger, clock, acquireAll } = setup(MIDNIGHT - 12 * HOUR, { limit: 2, per: 'day' })
    clock.jump(13 * HOUR)
    ledger.acquire(false, false)
    const { period } = ledger
    clock.jump(-13 * HOUR)
    t.equal(ledger.spent, 1)
    clock.ms = MIDNIGHT + HOUR
    t.equal(ledger.period, period)
    ledger.refund(period)
    t.equal(ledger.spent, 0)
    t.equal(acquireAll(), 2)
  })

  await t.test('a refund of a call that was taken over to another name is not dropped as well', async (t) => {
    const clock = clockAt(MIDNIGHT + HOUR)
    const ledger = new LocalQuota({ limit: 2, per: 'day' }, clock)
    ledger.acquire(false, false)
    const { period } = ledger
    for (const hours of [-2, 2]) {
      clock.jump(hours * HOUR)
      t.equal(ledger.spent, 1)
    }
    ledger.refund(period)
    t.equal(ledger.spent, 0)
    clock.jump(22 * HOUR) // not confirmed, so that what was taken over to today is dropped
    clock.ms += 2 * HOUR
    t.equal(ledger.spent, 0)
    clock.ms += HOUR
    t.equal(ledger.spent, 0)
    t.equal(ledger.remaining, 2)
  })
})

await t.test('rationing', async (t) => {
  const limit = 2_400

  await t.test('rationed calls are released in part at the start, then evenly up to the reset', async (t) => {
    const { clock, acquireAll } = setup(MIDNIGHT, { limit, per: 'day' })
    t.equal(acquireAll(false, true), 120, 'a twentieth at once')
    const rest = limit - 120
    let taken = 0
    for (let minute = 1; minute <= 24 * 60; minute++) {
      clock.ms = MIDNIGHT + minute * 60_000 - 1
      taken += acquireAll(false, true)
      const released = (rest * minute) / (24 * 60)
      if (Math.abs(taken - released) > 1.5) t.fail(`${taken} after ${minute} minutes instead of ${released}`)
    }
    t.ok(taken >= rest - 1 && taken <= rest, `${taken} of ${rest}`)
  })

  await t.test('released calls that were not acquired are kept', async (t) => {
    const { clock, acquireAll } = setup(MIDNIGHT, { limit, per: 'day' })
    clock.ms = MIDNIGHT + DAY / 2
    const taken = acquireAll(false, true)
    t.ok(Math.abs(taken - (120 + (limit - 120) / 2)) <= 1, String(taken))
  })

  await t.test('the wait for a rationed call is exact to the millisecond', async (t) => {
    for (const hasStale of [false, true]) {
      const { ledger, clock, acquireAll } = setup(MIDNIGHT, { limit, per: 'day' })
      acquireAll(hasStale, true)
      for (let i = 0; i < 20; i++) {
        const waitMs = ledger.acquire(hasStale, true)
        clock.ms += waitMs - 2
        t.ok(ledger.acquire(hasStale, true) > 0, 'not before')
        clock.ms += 3
        t.equal(ledger.acquire(hasStale, true), 0, 'but then')
      }
    }
  })

  await t.test('rationed calls leave a reserve to stations without a stale answer', async (t) => {
    const { ledger, acquireAll } = setup(MIDNIGHT, { limit, per: 'day' })
    const withStale = acquireAll(true, true)
    const others = acquireAll(false, true)
    t.equal(withStale + others, 120)
    t.ok(others >= limit * 0.02 - 1, `${others} for others`)
    t.ok(ledger.acquire(true, true) > ledger.acquire(false, true), 'with a stale answer the wait is longer')
  })

  await t.test('at the start a quarter, but at most 100 calls, or a twentieth is released', async (t) => {
    const released = [1, 3, 4, 5, 40, 400, 401, 2_000, 2_001, 10_000].map((limit) =>
      setup(MIDNIGHT, { limit, per: 'day' }).acquireAll(false, true),
    )
    t.strictSame(released, [1, 1, 1, 1, 10, 100, 100, 100, 100, 500])
  })

  await t.test('calls that were acquired before rationing reduce only what is released', async (t) => {
    const { ledger, clock, acquireAll } = setup(MIDNIGHT, { limit, per: 'day' })
    for (let i = 0; i < 1_200; i++) ledger.acquire(false, false)
    t.equal(ledger.spent, 1_200)
    t.ok(ledger.acquire(false, true) > 0, 'the first part was used up by those')
    clock.ms = MIDNIGHT + DAY / 2
    const taken = acquireAll(false, true)
    t.ok(Math.abs(taken - 600) <= 1, `${taken}: half of what was left`)
  })

  await t.test('rationed calls are released once, even if the wall clock is set back', async (t) => {
    const { clock, acquireAll } = setup(MIDNIGHT, { limit, per: 'day' })
    clock.ms = MIDNIGHT + 12 * HOUR
    acquireAll(false, true)
    clock.jump(-11 * HOUR)
    t.equal(acquireAll(false, true), 0)
    clock.jump(11 * HOUR)
    t.equal(acquireAll(false, true), 0)
    clock.jump(11 * HOUR)
    t.equal(acquireAll(false, true), 0)
  })
})

await t.test('a changed limit', async (t) => {
  await t.test('a raise keeps what was spent, and what it adds is released as at a start', async (t) => {
    for (const [from, to, atOnce] of [
      [20, 40, 5],
      [20, 2_000, 100],
      [2_000, 12_000, 500],
    ] as const) {
      const { ledger, acquireAll } = setup(MIDNIGHT, { limit: from, per: 'day' })
      t.equal(acquireAll(), from)
      ledger.changeLimit(to)
      t.equal(ledger.spent, from)
      t.equal(ledger.remaining, to - from)
      t.equal(acquireAll(false, true), atOnce, `${from} to ${to}`)
      t.equal(acquireAll(), to - from - atOnce)
    }
  })

  await t.test('a limit below what was spent leaves 0 and not less', async (t) => {
    const { ledger, acquireAll } = setup(MIDNIGHT, { limit: 20, per: 'day' })
    acquireAll()
    ledger.changeLimit(5)
    t.equal(ledger.remaining, 0)
    t.equal(ledger.spent, 20)
    t.ok(ledger.acquire(false, false) > 0)
    ledger.changeLimit(21)
    t.equal(acquireAll(), 1)
  })
})

await t.test('the local quota fulfils the contract', async (t) => {
  await quotaContract(t, async (_t, limit) => ({
    ledgers: [new LocalQuota({ limit, per: 'month' }, new TestClock())],
    sync: async () => {},
  }))
})
