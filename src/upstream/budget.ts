import type { Clock } from '../clock.ts'

export interface BudgetOptions {
  readonly limit: number
  /** Calendar period in UTC. */
  readonly per: 'day' | 'month'
}

/** So much of a period's calls is released from its start: a part, and never fewer than a handful. */
const INITIAL_SHARE = 0.05
const INITIAL_CALLS = 100
/** So much of what remains is left to stations that are not held: refreshes wait while less than that is released. */
const RESERVED_SHARE = 0.02

/**
 * The calls of a calendar period. The sum never exceeds the limit. When there are too few of them, they can be
 * rationed: a part can be spent at once, the rest is released evenly up to the reset, so that a demand that is too
 * large is met in part all day instead of in full until noon.
 */
export class Budget {
  readonly limit: number
  readonly #options: BudgetOptions
  readonly #clock: Pick<Clock, 'wall'>
  #resetAt = 0
  #spent = 0
  #released = 0
  #countedAt = 0

  constructor(options: BudgetOptions, clock: Pick<Clock, 'wall'>) {
    this.limit = options.limit
    this.#options = options
    this.#clock = clock
    this.#begin(clock.wall())
  }

  get spent(): number {
    this.#catchUp()
    return this.#spent
  }

  get remaining(): number {
    return this.limit - this.spent
  }

  /** When the next period begins, in ms since the epoch. */
  get resetAtMs(): number {
    this.#catchUp()
    return this.#resetAt
  }

  /**
   * Takes a call if there is one; while calls are rationed, only if one is released, and a refresh leaves the reserve
   * to stations that are not held. 0 when it is taken, else the time in ms until one can be.
   */
  take(isRefresh: boolean, rationed: boolean): number {
    this.#catchUp()
    const { remaining } = this
    if (remaining < 1) return this.#leftMs()
    const needed = Math.min(remaining, 1 + (isRefresh ? remaining * RESERVED_SHARE : 0))
    if (rationed && this.#released < needed) {
      return Math.ceil(((needed - this.#released) / (remaining - this.#released)) * this.#leftMs())
    }
    this.#spent++
    this.#released = Math.max(0, this.#released - 1)
    return 0
  }

  /** Returns a call that was not sent after all, to the period in which it was taken: the one that ends then. */
  giveBack(periodEndsAtMs: number): void {
    if (periodEndsAtMs !== this.resetAtMs) return // that period is over
    this.#spent--
    this.#released++
  }

  #catchUp(): void {
    const now = this.#clock.wall()
    if (now >= this.#resetAt) this.#begin(now)
    if (now <= this.#countedAt) return // the wall clock went back
    const unreleased = this.limit - this.#spent - this.#released
    this.#released += unreleased * ((now - this.#countedAt) / (this.#resetAt - this.#countedAt))
    this.#countedAt = now
  }

  #begin(now: number): void {
    this.#resetAt = nextPeriod(now, this.#options.per)
    this.#countedAt = now
    this.#spent = 0
    this.#released = Math.min(this.limit, Math.max(INITIAL_CALLS, this.limit * INITIAL_SHARE))
  }

  #leftMs(): number {
    return Math.max(1, this.#resetAt - this.#clock.wall())
  }
}

/** When the next calendar day or month begins in UTC. */
function nextPeriod(wallMs: number, per: BudgetOptions['per']): number {
  const date = new Date(wallMs)
  return per === 'day'
    ? Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + 1)
    : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1)
}
