import type { Clock } from '../../lib/clock.ts'
import { periodMs } from '../state/quota-period.ts'
import { DemandForecast, HOURS_A_DAY } from './demand-forecast.ts'
import type { LearnedPrice } from './learned-pacing.ts'
import { RecentRate } from './recent-rate.ts'

/** The calls of the period, shared with other replicas or not. */
export interface PacedQuota {
  readonly per: 'day' | 'month'
  readonly spent: number
  readonly remaining: number
  /** When the next period begins, in ms since the epoch. */
  readonly resetAtMs: number
  /** Identifies the account in a store: what another account begins with was not spent just now. Null or absent without one. */
  readonly account?: string | null
  /** Calls that are released and not spent. Absent: all that remain. */
  readonly released?: number
  /** What the account had counted when this process first saw it, without its own call of that moment. */
  readonly spentBefore?: number
}

const DAY_MS = 86_400_000
/** This share of the remaining calls is not planned: it covers what the forecast misses. */
const UNPLANNED_SHARE = 0.03
/** Calls are planned at most this many times as fast as a period of the same limit affords on average. Without this
 * bound, what is left at 23:59 drives the price to its minimum, and the next day begins with a flood. */
const MAX_SPEED = 2
/** A projection from less time would take a cold start for the whole period. */
const MIN_PROJECTED_MS = 600_000

/**
 * How fast calls are to be made so that the quota lasts until its reset.
 *
 * The plan follows the demand by hour of the day: at the same price, calls follow demand to the power (1 + M²) / 2 for a
 * station that needs M calls per request; (1 + M) / 2 with the M of all stations is close enough.
 */
export class CallPlan {
  readonly #quota: PacedQuota
  readonly #clock: Pick<Clock, 'wall'>
  readonly #demand: DemandForecast
  readonly #callRate = new RecentRate()
  /** Calls and lookups, fading over a day. */
  #calls = 0
  #lookups = 0
  #isRestored = false

  constructor(quota: PacedQuota, clock: Pick<Clock, 'wall'>) {
    this.#quota = quota
    this.#clock = clock
    this.#demand = new DemandForecast(clock)
  }

  /** Adds what happened since the last call of this method. A refund counts as less than no call. */
  record({ calls, lookups, elapsedMs }: { calls: number; lookups: number; elapsedMs: number }): void {
    this.#demand.record(lookups)
    if (elapsedMs > 0) this.#callRate.record(calls, elapsedMs)
    const fading = Math.exp(-elapsedMs / DAY_MS)
    this.#calls = Math.max(0, this.#calls * fading + calls)
    this.#lookups = this.#lookups * fading + lookups
  }

  /** Whether there was demand to plan with. */
  get hasDemand(): boolean {
    return this.#demand.perMs > 0
  }

  /** Calls per ms to make at the present demand. */
  perMs(): number {
    const { per, spent, remaining, resetAtMs } = this.#quota
    const now = this.#clock.wall()
    const lasting = (remaining * (1 - UNPLANNED_SHARE)) / this.#equivalentMs(resetAtMs)
    const perDay = ((spent + remaining) * DAY_MS) / periodMs(per, resetAtMs)
    return Math.min(lasting, (MAX_SPEED * perDay) / this.#equivalentMs(now + DAY_MS))
  }

  /** Whether the demand was observed for long enough to project what will be left. */
  get isProjected(): boolean {
    return this.#isRestored || this.#demand.observedMs >= MIN_PROJECTED_MS
  }

  /**
   * Calls expected to be left at the reset, if they go on to be made as in the last half hour. Pacing makes no more than
   * planned, so it is never less than what is not planned. All that remain, as long as nothing is known of the demand.
   */
  projectedRemaining(): number {
    const { remaining, resetAtMs } = this.#quota
    if (!this.isProjected) return remaining
    const perMs = Math.min(Math.max(0, this.#callRate.perMs), this.perMs())
    return Math.max(0, Math.round(remaining - perMs * this.#equivalentMs(resetAtMs)))
  }

  learned(): Pick<LearnedPrice, 'demand' | 'calls' | 'lookups'> {
    return { demand: this.#demand.shape, calls: this.#calls, lookups: this.#lookups }
  }

  restore({ demand, calls, lookups }: Pick<LearnedPrice, 'demand' | 'calls' | 'lookups'>): void {
    this.#demand.restore(demand)
    this.#calls += calls
    this.#lookups += lookups
    this.#isRestored = demand.length === HOURS_A_DAY && demand.every((requests) => requests !== null)
  }

  /** The time from now to `untilMs`, an hour with more demand than now counting as longer, with less as shorter. */
  #equivalentMs(untilMs: number): number {
    const callsPerLookup = this.#lookups > 0 ? Math.min(1, this.#calls / this.#lookups) : 1
    const power = (1 + callsPerLookup) / 2
    const parts = this.#demand.expected(untilMs)
    return Math.max(
      1,
      parts.reduce((sum, { ms, ratio }) => sum + ms * ratio ** power, 0),
    )
  }
}
