import * as fc from 'fast-check'
import { LocalQuota } from '../../src/upstream/state/quota-ledger.ts'

/* A wall clock that jumps, over days of calls: for tests and the fuzzer. */

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MIDNIGHT = Date.UTC(2026, 0, 16)

/** `ms` is the wall clock; when it is set, the monotonic clock moves on with it. `jump` moves the wall clock alone. */
export function clockAt(ms: number) {
  const state = { wall: ms, now: 1_000 }
  return {
    wall: () => state.wall,
    now: () => state.now,
    get ms() {
      return state.wall
    },
    set ms(wall: number) {
      state.now += Math.max(0, wall - state.wall)
      state.wall = wall
    },
    jump(by: number) {
      state.wall += by
    },
  }
}

const act = fc.oneof(
  fc.record({ do: fc.constant('acquire' as const), hasStale: fc.boolean(), rationed: fc.boolean() }),
  fc.record({ do: fc.constant('refund' as const) }),
  fc.record({
    do: fc.constant('pass' as const),
    ms: fc.integer({ min: 0, max: 30 }).map((h) => h * HOUR),
  }),
  fc.record({
    do: fc.constant('jump' as const),
    ms: fc.integer({ min: -9_999, max: 9_999 }).map((h) => h * HOUR),
  }),
)

interface Days {
  readonly limit: number
  readonly acts: readonly (
    | { readonly do: 'acquire'; readonly hasStale: boolean; readonly rationed: boolean }
    | { readonly do: 'refund' }
    | { readonly do: 'pass' | 'jump'; readonly ms: number }
  )[]
}

export const anyDays: fc.Arbitrary<Days> = fc.record({
  limit: fc.integer({ min: 1, max: 6 }),
  acts: fc.array(act, { maxLength: 80 }),
})

/** @throws Error if a day has more calls than the limit, or a wait is longer than a day */
export function checkDays({ limit, acts }: Days): void {
  const clock = clockAt(MIDNIGHT + HOUR / 2)
  const ledger = new LocalQuota({ limit, per: 'day' }, clock)
  const sentOn = new Map<number, number>()
  const taken: { readonly day: number; readonly period: string }[] = []
  let trueMs = clock.ms
  for (const step of acts) {
    if (step.do === 'jump') clock.jump(step.ms)
    if (step.do === 'pass') {
      clock.jump(trueMs - clock.ms) // it is right again before an hour has passed
      void ledger.spent // as the gauges read it all the time
      clock.ms = trueMs += step.ms
    }
    const day = Math.floor(trueMs / DAY)
    if (step.do === 'acquire') {
      const waitMs = ledger.acquire(step.hasStale, step.rationed)
      if (waitMs < 0 || waitMs > DAY) throw new Error(`a wait of ${waitMs} ms`)
      if (waitMs > 0) continue
      taken.push({ day, period: ledger.period })
      sentOn.set(day, (sentOn.get(day) ?? 0) + 1)
    }
    const back = step.do === 'refund' ? taken.shift() : undefined
    if (back !== undefined) {
      const before = ledger.spent
      ledger.refund(back.period)
      const returned = before - ledger.spent
      if (back.day === day) sentOn.set(day, (sentOn.get(day) ?? 0) - returned)
    }
    if ((sentOn.get(day) ?? 0) > limit) throw new Error(`more than ${limit} in a day`)
    if (ledger.remaining > limit - (sentOn.get(day) ?? 0)) throw new Error('too many remain')
  }
}
