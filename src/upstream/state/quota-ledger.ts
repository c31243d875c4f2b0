import type { Clock } from '../../lib/clock.ts'

/** Calls that an API key allows. */
export interface QuotaLimit {
  readonly limit: number
  /** Calendar period in UTC. */
  readonly per: 'day' | 'month'
}

/** Quota usage of the current period, as seen by the quota policy and the pacer. */
export interface QuotaLedger {
  readonly limit: number
  readonly spent: number
  /** Calls that can still be spent, as far as this replica knows. */
  readonly remaining: number
  /** When the next period begins, in ms since the epoch. */
  readonly resetAtMs: number
  /**
   * Spends a call. With `rationed` only calls that are released can be spent, and one for a station with a stale answer
   * (`hasStale`) leaves the reserve to others.
   * @returns 0 when the call is spent, else the time in ms until one can be
   */
  acquire(hasStale: boolean, rationed: boolean): number | Promise<number>
  /** Returns a call that was not sent to the period in which it was acquired, if that is still the current one. */
  refund(periodEndsAtMs: number): void
}

/** Calls that were spent, and that are released and not spent, in the period that ends at `resetAtMs`. */
export interface QuotaUsage {
  readonly spent: number
  readonly released: number
  readonly resetAtMs: number
}

/** Released at the start of a period: this share of the limit, and at least this many calls. */
const INITIAL_SHARE = 0.05
const MIN_INITIAL_CALLS = 100
/** This share of the remaining calls is the reserve for stations without a cached answer. */
export const RESERVED_SHARE = 0.02

/**
 * The quota of one replica; the limit is never exceeded. Calls can be rationed: some are released at the start of the
 * period, the rest evenly up to its end. Demand that is too high is then met in part all day, instead of in full until
 * the quota is exhausted.
 */
export class LocalQuota implements QuotaLedger {
  readonly limit: number
  readonly #options: QuotaLimit
  readonly #clock: Pick<Clock, 'wall'>
  readonly #share: number
  /** Calls that this replica may bring the period to: the limit, or its share of what was left of it. */
  #allowance = 0
  #resetAtMs = 0
  #spent = 0
  #released = 0
  /** Up to when calls are released, in ms since the epoch. */
  #releasedAtMs = 0

  /** `share` is this replica's part of the limit, from 0 to 1. */
  constructor(options: QuotaLimit, clock: Pick<Clock, 'wall'>, share = 1) {
    this.limit = options.limit
    this.#options = options
    this.#clock = clock
    this.#share = share
    this.#beginPeriod(clock.wall())
  }

  get spent(): number {
    this.#catchUp()
    return this.#spent
  }

  get remaining(): number {
    return Math.max(0, this.#allowance - this.spent) // a lowered limit may be below what was spent
  }

  get resetAtMs(): number {
    this.#catchUp()
    return this.#resetAtMs
  }

  acquire(hasStale: boolean, rationed: boolean): number {
    this.#catchUp()
    const { remaining } = this
    if (remaining < 1) return this.#leftMs()
    const needed = Math.min(remaining, 1 + (hasStale ? remaining * RESERVED_SHARE : 0))
    if (rationed && this.#released < needed) {
      return Math.ceil(((needed - this.#released) / (remaining - this.#released)) * this.#leftMs())
    }
    this.#spent++
    this.#released = Math.max(0, this.#released - 1)
    return 0
  }

  refund(periodEndsAtMs: number): void {
    if (periodEndsAtMs !== this.resetAtMs) return // that period is over
    this.#spent--
    this.#released++
  }

  /**
   * Takes over what was spent under another limit of the same period. What a higher limit adds is released as at the
   * start of a period, whatever was spent before.
   */
  continueFrom(previous: LocalQuota): void {
    const added = initiallyReleased(this.#allowance) - initiallyReleased(previous.#allowance)
    this.#spent = previous.spent
    this.#released = Math.max(0, Math.min(previous.#released + added, this.#allowance - this.#spent))
  }

  /** Takes over the usage of all replicas; from now on this replica may spend its share of what is left. */
  sync({ spent, released, resetAtMs }: QuotaUsage): void {
    this.#resetAtMs = resetAtMs
    this.#releasedAtMs = this.#clock.wall()
    this.#spent = spent
    this.#allowance = spent + Math.floor((this.limit - spent) * this.#share)
    this.#released = released * this.#share
  }

  /** Begins a new period if there is one, and releases the calls of the time since the last time. */
  #catchUp(): void {
    const now = this.#clock.wall()
    if (now >= this.#resetAtMs) this.#beginPeriod(now)
    if (now <= this.#releasedAtMs) return // the wall clock went back
    const unreleased = this.#allowance - this.#spent - this.#released
    const elapsed = (now - this.#releasedAtMs) / (this.#resetAtMs - this.#releasedAtMs)
    this.#released += unreleased * elapsed
    this.#releasedAtMs = now
  }

  #beginPeriod(now: number): void {
    this.#resetAtMs = nextPeriod(now, this.#options.per)
    this.#releasedAtMs = now
    this.#spent = 0
    this.#allowance = Math.floor(this.limit * this.#share)
    this.#released = initiallyReleased(this.#allowance)
  }

  #leftMs(): number {
    return Math.max(1, this.#resetAtMs - this.#clock.wall())
  }
}

/** Calls that are released at the start of a period. */
export function initiallyReleased(limit: number): number {
  return Math.min(limit, Math.max(MIN_INITIAL_CALLS, limit * INITIAL_SHARE))
}

/** When the next calendar day or month begins in UTC, in ms since the epoch. */
export function nextPeriod(wallMs: number, per: QuotaLimit['per']): number {
  const date = new Date(wallMs)
  return per === 'day'
    ? Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + 1)
    : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1)
}
