import * as fc from 'fast-check'
import t from 'tap'
import type { QuotaLimit } from '../../../src/upstream/state/quota-ledger.ts'
import { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { quotaContract } from './quota-ledger.contract.ts'
import { TestClock } from '../../support/clock.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MIDNIGHT = Date.UTC(2026, 0, 16)

/** Only a wall clock: periods use no other. */
function wallAt(ms: number) {
  const clock = { ms, wall: () => clock.ms }
  return clock
}

function setup(ms: number, options: QuotaLimit) {
  const clock = wallAt(ms)
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
    const { ledger, clock, acquireAll } = setup(MIDNIGHT + HOUR, { limit: 200, per: 'day' })
    t.equal(acquireAll(), 200)
    for (const jump of [-2 * HOUR, 2 * HOUR, -3 * DAY, 3 * DAY, -1, 1]) {
      clock.ms += jump
      t.equal(acquireAll(), 0, `${jump} ms`)
    }
    clock.ms = MIDNIGHT + DAY
    t.equal(acquireAll(), 200)
    for (const at of [MIDNIGHT + HOUR, MIDNIGHT + DAY + HOUR, MIDNIGHT - DAY, MIDNIGHT + 2 * DAY - 1]) {
      clock.ms = at
      t.equal(acquireAll(), 0, new Date(at).toISOString())
      t.ok(ledger.acquire(false, false) > 0)
    }
  })

  await t.test('a period never has more calls than the limit', async () => {
    const act = fc.oneof(
      fc.record({ do: fc.constant('acquire' as const), hasStale: fc.boolean(), rationed: fc.boolean() }),
      fc.record({ do: fc.constant('refund' as const) }),
      fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 30 * HOUR }) }),
      fc.record({ do: fc.constant('jump' as const), ms: fc.integer({ min: -50 * HOUR, max: 50 * HOUR }) }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(act, { maxLength: 80 }), (limit, acts) => {
        const { ledger, clock } = setup(MIDNIGHT + HOUR, { limit, per: 'day' })
        const sentOn = new Map<number, number>()
        const taken: { readonly day: number; readonly period: number }[] = []
        let latest = clock.ms
        for (const step of acts) {
          if (step.do === 'pass' || step.do === 'jump') clock.ms += step.ms
          latest = Math.max(latest, clock.ms)
          const day = Math.floor(latest / DAY)
          if (step.do === 'acquire') {
            const period = ledger.resetAtMs
            const waitMs = ledger.acquire(step.hasStale, step.rationed)
            if (waitMs < 0) throw new Error('a negative wait')
            if (waitMs > 0) continue
            taken.push({ day, period })
            sentOn.set(day, (sentOn.get(day) ?? 0) + 1)
          }
          const back = step.do === 'refund' ? taken.shift() : undefined
          if (back !== undefined) {
            ledger.refund(back.period)
            sentOn.set(back.day, (sentOn.get(back.day) ?? 0) - 1)
          }
          if ((sentOn.get(day) ?? 0) > limit) throw new Error(`more than ${limit} in a day`)
          if (ledger.remaining !== limit - (sentOn.get(day) ?? 0))
            throw new Error('the remaining calls are wrong')
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

await t.test('refunds', async (t) => {
  await t.test('a refunded call can be acquired again', async (t) => {
    const { ledger, acquireAll } = setup(MIDNIGHT, { limit: 2, per: 'day' })
    acquireAll()
    ledger.refund(ledger.resetAtMs)
    t.equal(ledger.spent, 1)
    t.equal(acquireAll(), 1)
  })

  await t.test('a refund of a call of the last period does not change the current one', async (t) => {
    const { ledger, clock, acquireAll } = setup(MIDNIGHT - 1, { limit: 2, per: 'day' })
    const period = ledger.resetAtMs
    ledger.acquire(false, false)
    clock.ms = MIDNIGHT
    ledger.refund(period)
    t.equal(acquireAll(), 2, 'nothing to refund yet')
    ledger.refund(period)
    t.equal(acquireAll(), 0, 'what this period has spent stays spent')
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

  await t.test('a small quota is released at once, and its last call has no reserve', async (t) => {
    const { acquireAll } = setup(MIDNIGHT, { limit: 5, per: 'day' })
    t.equal(acquireAll(true, true), 5)
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
    clock.ms = MIDNIGHT + HOUR
    t.equal(acquireAll(false, true), 0)
    clock.ms = MIDNIGHT + 12 * HOUR
    t.equal(acquireAll(false, true), 0)
  })
})

await t.test('the local quota fulfils the contract', async (t) => {
  await quotaContract(t, async (_t, limit) => ({
    ledgers: [new LocalQuota({ limit, per: 'month' }, new TestClock())],
    sync: async () => {},
  }))
})
