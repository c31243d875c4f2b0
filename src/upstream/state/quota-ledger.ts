import type { Clock } from '../../lib/clock.ts'

export interface QuotaLimit {
  readonly limit: number
  /** Calendar period in UTC. */
  readonly per: 'day' | 'month'
}

/** The calls of a period, as those see them who spend and plan them. */
export interface QuotaLedger {
  readonly limit: number
  readonly spent: number
  /** What can still be spent, as far as is known here. */
  readonly remaining: number
  /** When the next period begins, in ms since the epoch. */
  readonly resetAtMs: number
  /** 0 when a call is taken, else the time in ms until one can be. */
  acquire(isRefresh: boolean, rationed: boolean): number | Promise<number>
  /** Returns a call that was not sent after all, to the period in which it was taken: the one that ends then. */
  refund(periodEndsAtMs: number): void
}

/** What was spent, and released while calls are rationed, in the period that ends then. */
export interface QuotaUsage {
  readonly spent: number
  readonly released: number
  readonly resetAtMs: number
}

/** So much of a period's calls is released from its start: a part, and never fewer than a handful. */
const INITIAL_SHARE = 0.05
const INITIAL_CALLS = 100
/** So much of what remains is left to stations that are not held: refreshes wait while less than that is released. */
export const RESERVED_SHARE = 0.02

/**
 * The calls of a calendar period. The sum never exceeds the limit. When there are too few of them, they can be
 * rationed: a part can be spent at once, the rest is released evenly up to the reset, so that a demand that is too
 * large is met in part all day instead of in full until noon.
 */
export class LocalQuota implements QuotaLedger {
  readonly limit: number
  readonly #options: QuotaLimit
  readonly #clock: Pick<Clock, 'wall'>
  readonly #share: number
  /** Most that may be spent in this period: the limit, or this replica's share of what was left of it. */
  #ceiling = 0
  #resetAt = 0
  #spent = 0
  #released = 0
  #countedAt = 0

  /** `share` is the part of the limit that is spent here, from 0 to 1. */
  constructor(options: QuotaLimit, clock: Pick<Clock, 'wall'>, share = 1) {
    this.limit = options.limit
    this.#options = options
    this.#clock = clock
    this.#share = share
    this.#begin(clock.wall())
  }

  get spent(): number {
    this.#catchUp()
    return this.#spent
  }

  get remaining(): number {
    return this.#ceiling - this.spent
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
  acquire(isRefresh: boolean, rationed: boolean): number {
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
  refund(periodEndsAtMs: number): void {
    if (periodEndsAtMs !== this.resetAtMs) return // that period is over
    this.#spent--
    this.#released++
  }

  /** Takes over what all replicas have spent together; from now on a share of what is left is spent here. */
  sync({ spent, released, resetAtMs }: QuotaUsage): void {
    this.#resetAt = resetAtMs
    this.#countedAt = this.#clock.wall()
    this.#spent = spent
    this.#ceiling = spent + Math.floor((this.limit - spent) * this.#share)
    this.#released = released * this.#share
  }

  #catchUp(): void {
    const now = this.#clock.wall()
    if (now >= this.#resetAt) this.#begin(now)
    if (now <= this.#countedAt) return // the wall clock went back
    const unreleased = this.#ceiling - this.#spent - this.#released
    this.#released += unreleased * ((now - this.#countedAt) / (this.#resetAt - this.#countedAt))
    this.#countedAt = now
  }

  #begin(now: number): void {
    this.#resetAt = nextPeriod(now, this.#options.per)
    this.#countedAt = now
    this.#spent = 0
    this.#ceiling = Math.floor(this.limit * this.#share)
    this.#released = initiallyReleased(this.#ceiling)
  }

  #leftMs(): number {
    return Math.max(1, this.#resetAt - this.#clock.wall())
  }
}

/** How many calls of a period can be spent at its start. */
export function initiallyReleased(limit: number): number {
  return Math.min(limit, Math.max(INITIAL_CALLS, limit * INITIAL_SHARE))
}

/** When the next calendar day or month begins in UTC. */
export function nextPeriod(wallMs: number, per: QuotaLimit['per']): number {
  const date = new Date(wallMs)
  return per === 'day'
    ? Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + 1)
    : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1)
}
