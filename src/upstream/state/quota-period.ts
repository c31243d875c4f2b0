import type { Clock } from '../../lib/clock.ts'

const DAY_MS = 86_400_000

/** A calendar day or month in UTC. */
export interface QuotaPeriod {
  /** `2026-11-29/day` or `2026-11/month`. */
  readonly name: string
  /** When the next period begins, in ms since the epoch. */
  readonly endsAtMs: number
}

/** Calls that were spent, and that are released and not spent, in a period. */
export interface QuotaUsage {
  readonly period: QuotaPeriod
  readonly spent: number
  readonly released: number
  /** The store's clock, in ms since the epoch. */
  readonly nowMs: number
}

export function periodAt(wallMs: number, per: 'day' | 'month'): QuotaPeriod {
  const date = new Date(wallMs)
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()]
  const monthName = `${String(year).padStart(4, '0')}-${twoDigits(month + 1)}`
  return per === 'month'
    ? { name: `${monthName}/month`, endsAtMs: Date.UTC(year, month + 1) }
    : { name: `${monthName}-${twoDigits(day)}/day`, endsAtMs: Date.UTC(year, month, day + 1) }
}

/** The length of a period in ms, from its kind and its end. */
export function periodMs(per: 'day' | 'month', endsAtMs: number): number {
  return per === 'day' ? DAY_MS : DAY_MS * new Date(endsAtMs - DAY_MS).getUTCDate()
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0')
}

/** Released at the start of a period: this share of the limit, and at least this many calls or this share. */
const INITIAL_SHARE = 0.05
const INITIAL_CALLS = 100
const MAX_INITIAL_CALLS_SHARE = 0.25

/** Calls that are released at the start of a period, or when the limit is raised by so many. */
export function initiallyReleased(limit: number): number {
  const calls = Math.max(limit * INITIAL_SHARE, Math.min(INITIAL_CALLS, limit * MAX_INITIAL_CALLS_SHARE))
  return Math.min(limit, Math.max(1, calls))
}

/** The wall clock and the monotonic clock may differ by this since the period began. */
const MAX_DRIFT_MS = 60_000
/** Names of periods that are remembered: a call takes seconds, so no refund is older. */
const MAX_NAMES = 100

/**
 * The period in force by two clocks. A period begins only if both agree that the one before is over: a wall clock that
 * jumps only changes the name.
 */
export class PeriodClock {
  readonly #per: 'day' | 'month'
  readonly #clock: Pick<Clock, 'now' | 'wall'>
  #current: QuotaPeriod
  /** When the period ends on the monotonic clock. */
  #dueAt: number
  /** Since when the wall clock differs from that, on the monotonic clock. */
  #differsSince: number | null = null
  #begun = 0
  /** How many periods had begun when a name was first in force. */
  readonly #begunAt = new Map<string, number>()

  constructor(per: 'day' | 'month', clock: Pick<Clock, 'now' | 'wall'>) {
    this.#per = per
    this.#clock = clock
    this.#current = periodAt(clock.wall(), per)
    this.#dueAt = clock.now() + this.#current.endsAtMs - clock.wall()
    this.#begunAt.set(this.#current.name, 0)
  }

  get current(): QuotaPeriod {
    return this.#current
  }

  /** Until the period ends, in ms; at least 1. */
  get leftMs(): number {
    return Math.max(1, Math.ceil(this.#dueAt - this.#clock.now()))
  }

  /**
   * Whether a call that was charged under this name was charged to the period in force. The name alone is not enough: a
   * wall clock that was ahead has shown the name of tomorrow today.
   */
  includes(name: string): boolean {
    return name === this.#current.name && this.#begunAt.get(name) === this.#begun
  }

  /** Reads the clocks. `began`: a new period; `renamed`: the wall clock jumped into another one. */
  update(): 'same' | 'began' | 'renamed' {
    const [now, wall] = [this.#clock.now(), this.#clock.wall()]
    const period = periodAt(wall, this.#per)
    if (period.name === this.#current.name) {
      this.#adjust(now, wall)
      return 'same'
    }
    const isConfirmed = Math.abs(wall - this.#current.endsAtMs - (now - this.#dueAt)) <= MAX_DRIFT_MS
    const began = period.endsAtMs > this.#current.endsAtMs && isConfirmed
    if (began) this.#begun++
    this.#enter(period, wall)
    return began ? 'began' : 'renamed'
  }

  /** Takes over the period of another clock, which shows `wallMs` now. */
  follow(period: QuotaPeriod, wallMs: number): void {
    if (period.name !== this.#current.name) this.#begun++
    this.#enter(period, wallMs)
  }

  #enter(period: QuotaPeriod, wallMs: number): void {
    this.#current = period
    const { name } = period
    if (!this.#begunAt.has(name)) this.#begunAt.set(name, this.#begun)
    const [oldest] = this.#begunAt.keys()
    if (oldest !== undefined && this.#begunAt.size > MAX_NAMES) this.#begunAt.delete(oldest)
    this.#dueAt = this.#clock.now() + period.endsAtMs - wallMs
    this.#differsSince = null
  }

  /** Follows a wall clock that was corrected: by little at once, by more after a minute. */
  #adjust(now: number, wall: number): void {
    const dueAt = now + this.#current.endsAtMs - wall
    const isSmall = Math.abs(dueAt - this.#dueAt) <= MAX_DRIFT_MS
    this.#differsSince = isSmall ? null : (this.#differsSince ?? now)
    if (this.#differsSince !== null && now - this.#differsSince < MAX_DRIFT_MS) return
    this.#dueAt = dueAt
    this.#differsSince = null
  }
}
