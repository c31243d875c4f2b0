import * as fc from 'fast-check'
import t from 'tap'
import type { QuotaLimit } from '../../../src/upstream/state/quota-ledger.ts'
import { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { QuotaPolicy } from '../../../src/upstream/policies/quota.ts'
import { settled, TestClock } from '../../support/clock.ts'
import type { Failure } from '../doubles.ts'
import {
  answering,
  broken,
  CALLER,
  ended,
  failing,
  failure,
  HOLDER,
  REFRESH,
  ScriptedSource,
  unreached,
  watch,
} from '../doubles.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MIDNIGHT = Date.UTC(2026, 0, 16)

/** A wall clock alone: the calendar knows no other. */
function wallAt(ms: number) {
  const clock = { ms, wall: () => clock.ms }
  return clock
}

function budgetAt(ms: number, options: QuotaLimit) {
  const clock = wallAt(ms)
  const budget = new LocalQuota(options, clock)
  return {
    budget,
    clock,
    /** Takes as many as there are, and says how many that was. */
    takeAll: (isRefresh = false, rationed = false) => {
      let taken = 0
      while (budget.acquire(isRefresh, rationed) === 0) taken++
      return taken
    },
  }
}

await t.test('a period', async (t) => {
  await t.test('is a day or a month of the calendar in UTC, wherever the service runs', async (t) => {
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
        const { budget } = budgetAt(Date.parse(now), { limit: 1, per })
        t.equal(new Date(budget.resetAtMs).toISOString(), reset, `${per} of ${now} in ${zone}`)
      }
    }
  })

  await t.test(
    'has its calls, no more, and the next has them anew from its first millisecond on',
    async (t) => {
      const { budget, clock, takeAll } = budgetAt(MIDNIGHT - 10 * HOUR, { limit: 3, per: 'day' })
      t.equal(takeAll(), 3)
      t.equal(budget.remaining, 0)
      t.equal(budget.acquire(false, false), 10 * HOUR, 'how long it takes until there are calls again')
      clock.ms = MIDNIGHT - 1
      t.equal(budget.acquire(false, false), 1)
      clock.ms = MIDNIGHT
      t.equal(budget.remaining, 3)
      t.equal(budget.resetAtMs, MIDNIGHT + DAY)
      t.equal(takeAll(), 3)
    },
  )

  await t.test('that nobody asked in is over too', async (t) => {
    const { budget, clock, takeAll } = budgetAt(MIDNIGHT, { limit: 3, per: 'day' })
    takeAll()
    clock.ms = MIDNIGHT + 5 * DAY + HOUR
    t.equal(takeAll(), 3)
    t.equal(budget.resetAtMs, MIDNIGHT + 6 * DAY)
  })

  await t.test('is granted once, though the wall clock be set back and forth', async (t) => {
    const { budget, clock, takeAll } = budgetAt(MIDNIGHT + HOUR, { limit: 200, per: 'day' })
    t.equal(takeAll(), 200)
    for (const jump of [-2 * HOUR, 2 * HOUR, -3 * DAY, 3 * DAY, -1, 1]) {
      clock.ms += jump
      t.equal(takeAll(), 0, `${jump} ms`)
    }
    clock.ms = MIDNIGHT + DAY
    t.equal(takeAll(), 200)
    for (const at of [MIDNIGHT + HOUR, MIDNIGHT + DAY + HOUR, MIDNIGHT - DAY, MIDNIGHT + 2 * DAY - 1]) {
      clock.ms = at
      t.equal(takeAll(), 0, new Date(at).toISOString())
      t.ok(budget.acquire(false, false) > 0)
    }
  })

  await t.test('never has more calls than the limit, whatever happens', async () => {
    const act = fc.oneof(
      fc.record({ do: fc.constant('take' as const), refresh: fc.boolean(), rationed: fc.boolean() }),
      fc.record({ do: fc.constant('giveBack' as const) }),
      fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 30 * HOUR }) }),
      fc.record({ do: fc.constant('jump' as const), ms: fc.integer({ min: -50 * HOUR, max: 50 * HOUR }) }),
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(act, { maxLength: 80 }), (limit, acts) => {
        const { budget, clock } = budgetAt(MIDNIGHT + HOUR, { limit, per: 'day' })
        const sentOn = new Map<number, number>()
        const taken: { readonly day: number; readonly period: number }[] = []
        let latest = clock.ms
        for (const step of acts) {
          if (step.do === 'pass' || step.do === 'jump') clock.ms += step.ms
          latest = Math.max(latest, clock.ms)
          const day = Math.floor(latest / DAY)
          if (step.do === 'take') {
            const period = budget.resetAtMs
            const waitMs = budget.acquire(step.refresh, step.rationed)
            if (waitMs < 0) throw new Error('a wait that is over')
            if (waitMs > 0) continue
            taken.push({ day, period })
            sentOn.set(day, (sentOn.get(day) ?? 0) + 1)
          }
          const back = step.do === 'giveBack' ? taken.shift() : undefined
          if (back !== undefined) {
            budget.refund(back.period)
            sentOn.set(back.day, (sentOn.get(back.day) ?? 0) - 1)
          }
          if ((sentOn.get(day) ?? 0) > limit) throw new Error(`more than ${limit} in a day`)
          if (budget.remaining !== limit - (sentOn.get(day) ?? 0)) throw new Error('wrongly counted')
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

await t.test('a call that is given back', async (t) => {
  await t.test('can be taken again', async (t) => {
    const { budget, takeAll } = budgetAt(MIDNIGHT, { limit: 2, per: 'day' })
    takeAll()
    budget.refund(budget.resetAtMs)
    t.equal(budget.spent, 1)
    t.equal(takeAll(), 1)
  })

  await t.test('is none of the present period, if it was taken in the one before', async (t) => {
    const { budget, clock, takeAll } = budgetAt(MIDNIGHT - 1, { limit: 2, per: 'day' })
    const period = budget.resetAtMs
    budget.acquire(false, false)
    clock.ms = MIDNIGHT
    budget.refund(period)
    t.equal(takeAll(), 2, 'nothing to give back yet')
    budget.refund(period)
    t.equal(takeAll(), 0, 'what this period has spent stays spent')
  })
})

await t.test('rationed calls', async (t) => {
  const limit = 2_400

  await t.test('are released evenly to the reset, after a part at the start', async (t) => {
    const { clock, takeAll } = budgetAt(MIDNIGHT, { limit, per: 'day' })
    t.equal(takeAll(false, true), 120, 'a twentieth at once')
    const rest = limit - 120
    let taken = 0
    for (let minute = 1; minute <= 24 * 60; minute++) {
      clock.ms = MIDNIGHT + minute * 60_000 - 1
      taken += takeAll(false, true)
      const released = (rest * minute) / (24 * 60)
      if (Math.abs(taken - released) > 1.5) t.fail(`${taken} after ${minute} minutes instead of ${released}`)
    }
    t.ok(taken >= rest - 1 && taken <= rest, `${taken} of ${rest}`)
  })

  await t.test('that nobody took are there later', async (t) => {
    const { clock, takeAll } = budgetAt(MIDNIGHT, { limit, per: 'day' })
    clock.ms = MIDNIGHT + DAY / 2
    const taken = takeAll(false, true)
    t.ok(Math.abs(taken - (120 + (limit - 120) / 2)) <= 1, String(taken))
  })

  await t.test('say to the millisecond when the next can be taken', async (t) => {
    for (const isRefresh of [false, true]) {
      const { budget, clock, takeAll } = budgetAt(MIDNIGHT, { limit, per: 'day' })
      takeAll(isRefresh, true)
      for (let i = 0; i < 20; i++) {
        const waitMs = budget.acquire(isRefresh, true)
        clock.ms += waitMs - 2
        t.ok(budget.acquire(isRefresh, true) > 0, 'not before')
        clock.ms += 3
        t.equal(budget.acquire(isRefresh, true), 0, 'but then')
      }
    }
  })

  await t.test('leave the reserve to stations that are not held', async (t) => {
    const { budget, takeAll } = budgetAt(MIDNIGHT, { limit, per: 'day' })
    const refreshes = takeAll(true, true)
    const others = takeAll(false, true)
    t.equal(refreshes + others, 120)
    t.ok(others >= limit * 0.02 - 1, `${others} for others`)
    t.ok(budget.acquire(true, true) > budget.acquire(false, true), 'a refresh waits longer')
  })

  await t.test('of a small quota are all there at the start, and the very last is anyone’s', async (t) => {
    const { takeAll } = budgetAt(MIDNIGHT, { limit: 5, per: 'day' })
    t.equal(takeAll(true, true), 5)
  })

  await t.test('do not shrink because of what was taken unrationed', async (t) => {
    const { budget, clock, takeAll } = budgetAt(MIDNIGHT, { limit, per: 'day' })
    for (let i = 0; i < 1_200; i++) budget.acquire(false, false)
    t.equal(budget.spent, 1_200)
    t.ok(budget.acquire(false, true) > 0, 'the first part was used up by those')
    clock.ms = MIDNIGHT + DAY / 2
    const taken = takeAll(false, true)
    t.ok(Math.abs(taken - 600) <= 1, `${taken}: half of what was left`)
  })

  await t.test('are released once, though the wall clock be set back', async (t) => {
    const { clock, takeAll } = budgetAt(MIDNIGHT, { limit, per: 'day' })
    clock.ms = MIDNIGHT + 12 * HOUR
    takeAll(false, true)
    clock.ms = MIDNIGHT + HOUR
    t.equal(takeAll(false, true), 0)
    clock.ms = MIDNIGHT + 12 * HOUR
    t.equal(takeAll(false, true), 0)
  })
})

interface Told {
  readonly percent: number
  readonly remaining: number
  readonly resetAt: string
}

function charged(limit: number, isRationing = () => false) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const budget = new LocalQuota({ limit, per: 'day' }, clock)
  const told: Told[] = []
  const quotaSpent = (percent: number, remaining: number, resetAt: Date) =>
    void told.push({ percent, remaining, resetAt: resetAt.toISOString() })
  const source = new QuotaPolicy({
    ledger: budget,
    pacing: { isRationing },
    observer: { quotaSpent },
  }).policy(inner.source)
  return { clock, inner, budget, told, source }
}

await t.test('the charge', async (t) => {
  await t.test('is made before the call goes out: no more than the limit can be under way', async (t) => {
    const { source, inner, budget } = charged(3)
    const calls = Array.from({ length: 5 }, (_, i) => watch(source(`${i}`, CALLER)))
    await settled()
    t.equal(inner.sent.length, 3)
    t.equal(budget.spent, 3)
    t.strictSame(
      calls.map(({ state }) => state),
      ['pending', 'pending', 'pending', 'QuotaExhausted', 'QuotaExhausted'],
    )
  })

  await t.test('is for a call that upstream may have seen, however it ended; for no other', async (t) => {
    const outcomes: Failure[] = [
      'bad_request',
      'not_found',
      'throttled',
      'refused',
      'server_error',
      'invalid',
      'timeout',
      'network',
    ]
    for (const [name, error, spent] of [
      ...outcomes.map((outcome) => [outcome, failure(outcome), 1] as const),
      ['a broken connection', broken(), 1],
      ['a mistake of ours', new TypeError('a mistake'), 1],
      ['a refused connection', unreached(), 0],
      ['a connect timeout', failure('timeout', { sent: false }), 0],
    ] as const) {
      const { source, inner, budget } = charged(10)
      inner.always = failing(() => error)
      const call = await ended(source('a', CALLER))
      t.equal(budget.spent, spent, name)
      if (call.error !== null) t.equal(call.error, error)
    }
  })

  await t.test('of a call that was not sent is not taken off the next period', async (t) => {
    const { source, inner, budget, clock } = charged(2)
    const unsent = watch(source('a', CALLER))
    clock.setWall(MIDNIGHT)
    const next = watch(source('b', CALLER))
    t.equal(budget.spent, 1)
    await inner.sent[0]?.fail(unreached())
    t.equal(unsent.state, 'UpstreamFailed')
    t.equal(budget.spent, 1, 'the call of the new period stays charged')
    await inner.sent[1]?.answer()
    t.equal(next.state, 'ok')
  })

  await t.test('that cannot be afforded is a 503 with the time until it can', async (t) => {
    const { source, clock, inner, budget } = charged(1)
    inner.always = answering
    await ended(source('a', CALLER))
    const refused = await ended(source('b', CALLER))
    t.equal(refused.error?.code, 'QuotaExhausted')
    t.equal(refused.error?.status, 503)
    t.equal(refused.error?.retryAfterMs, budget.resetAtMs - clock.wall())
    t.match(refused.error?.reason, /spent/)
    clock.setWall(MIDNIGHT)
    t.equal((await ended(source('b', CALLER))).state, 'ok')
  })

  await t.test('is held back while calls are rationed: longer for a station that is held', async (t) => {
    let rationing = true
    const { source, inner } = charged(2_400, () => rationing)
    inner.always = answering
    let sent = 0
    while ((await ended(source('a', HOLDER))).state === 'ok') sent++
    t.ok(sent > 0 && sent < 120, String(sent))
    t.match((await ended(source('a', REFRESH))).error, { code: 'QuotaExhausted', reason: /pacing/ })
    t.equal((await ended(source('new', CALLER))).state, 'ok', 'the reserve')
    while ((await ended(source('new', CALLER))).state === 'ok') sent++
    const unheld = (await ended(source('new', CALLER))).error?.retryAfterMs ?? Number.NaN
    const held = (await ended(source('a', REFRESH))).error?.retryAfterMs ?? Number.NaN
    t.ok(unheld > 0 && unheld < 20_000, `${unheld} ms: 2,280 calls are left for half a day`)
    t.ok(held > 10 * unheld, `${held} ms`)
    rationing = false
    t.equal((await ended(source('a', HOLDER))).state, 'ok')
  })
})

async function spend({ source, inner }: ReturnType<typeof charged>, calls: number): Promise<void> {
  inner.always = answering
  for (let i = 0; i < calls; i++) await ended(source('a', CALLER))
}

await t.test('the operator is told how much is spent', async (t) => {
  await t.test('once each at 50, 80, 95 and 100 percent, and anew in the next period', async (t) => {
    const quota = charged(100)
    const { told, clock } = quota
    const resetAt = '2026-01-16T00:00:00.000Z'
    await spend(quota, 49)
    t.strictSame(told, [])
    await spend(quota, 1)
    t.strictSame(told, [{ percent: 50, remaining: 50, resetAt }])
    await spend(quota, 60)
    t.strictSame(told.slice(1), [
      { percent: 80, remaining: 20, resetAt },
      { percent: 95, remaining: 5, resetAt },
      { percent: 100, remaining: 0, resetAt },
    ])
    clock.setWall(MIDNIGHT)
    await spend(quota, 55)
    t.strictSame(told.slice(4), [{ percent: 50, remaining: 50, resetAt: '2026-01-17T00:00:00.000Z' }])
  })

  await t.test('the highest alone, where one call passes several', async (t) => {
    const quota = charged(2)
    await spend(quota, 2)
    t.strictSame(
      quota.told.map(({ percent }) => percent),
      [50, 100],
    )
  })

  await t.test('not again for a call that was given back and made anew', async (t) => {
    const quota = charged(4)
    await spend(quota, 1)
    for (let i = 0; i < 3; i++) {
      quota.inner.always = failing(unreached)
      await ended(quota.source('a', CALLER))
    }
    await spend(quota, 1)
    t.strictSame(
      quota.told.map(({ percent }) => percent),
      [50],
    )
  })
})
