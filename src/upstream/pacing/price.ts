import type { Clock } from '../../lib/clock.ts'
import { MIN_WEIGHT } from '../../lib/change-weight.ts'
import { DemandForecast } from './demand-forecast.ts'

export interface PriceOptions {
  /** CACHE_TTL. */
  readonly ttlMs: number
  /** CACHE_MAX_TTL. */
  readonly maxTtlMs: number
}

/** The calls of the period, shared with other replicas or not. */
export interface PacedQuota {
  readonly per: 'day' | 'month'
  readonly spent: number
  readonly remaining: number
  /** When the next period begins, in ms since the epoch. */
  readonly resetAtMs: number
}

/**
 * The price of the other replicas that spend the same quota. Each steers by the calls of all; without a common price, small
 * differences between their forecasts add up until some replicas call for nothing and others at CACHE_TTL.
 */
export interface SharedPrice {
  /** The latest price of another replica in s; null when there is none. */
  readonly latestThetaS: () => number | null
  readonly publish: (thetaS: number) => void
}

export interface PriceDeps {
  readonly quota: PacedQuota
  /** Lookups since the start. */
  readonly lookups: () => number
  readonly clock: Pick<Clock, 'now' | 'wall'>
  /** Null where the quota is not shared. */
  readonly shared?: SharedPrice | null
}

const DAY_MS = 86_400_000
/** The price is updated this long after the start, and then every 5 s. */
const INITIAL_UPDATES_MS = [500, 1_000, 2_000, 5_000]
const UPDATE_INTERVAL_MS = 5_000
/** This share of the remaining calls is not planned: it covers what the forecast misses. */
const UNPLANNED_SHARE = 0.03
/** Calls are planned at most this many times as fast as a period of the same limit affords on average. Without this
 * bound, what is left at 23:59 drives the price to its minimum, and the next day begins with a flood. */
const MAX_SPEED = 2
/** Planned calls over which plan and calls are compared. 10 to 40 make no difference. */
const MEMORY_CALLS = 20
/** Added to both sides of the comparison, so that single calls hardly move the price. */
const DAMPING_CALLS = 5
/** The price follows (made / planned) to this power within the memory. */
const GAIN = 2
/** The maximum in units of CACHE_MAX_TTL: a popular station's TTL grows with the square root of the price. */
const MAX_THETA_TTLS = 400

/**
 * The price θ of a call, in seconds of age: the TTL of an average station that nobody asks for. It rises while more
 * calls are made than planned and falls while fewer are, so it needs no model of what a TTL costs.
 *
 * The plan follows the demand by hour of the day: at the same price, calls follow demand to the power (1 + M²) / 2 for a
 * station that needs M calls per request; (1 + M) / 2 with the M of all stations is close enough.
 */
export class Price {
  readonly #deps: PriceDeps
  readonly #demand: DemandForecast
  /** Whether a longer TTL can save calls. */
  readonly #canStretch: boolean
  readonly #minS: number
  readonly #maxS: number
  readonly #startedAt: number
  #updates = 0
  #updatedAt: number
  #nextUpdateAt: number
  #thetaS: number
  /** Until the demand is known, the calls released at the start must suffice. */
  #isRationing = true
  #resetAt: number
  #spent: number
  #lookups = 0
  /** Calls planned and made, fading over MEMORY_CALLS planned calls. */
  #planned = 0
  #made = 0
  /** Calls and lookups, fading over a day. */
  #callsOfDay = 0
  #lookupsOfDay = 0
  #projected: number

  constructor({ ttlMs, maxTtlMs }: PriceOptions, deps: PriceDeps) {
    const { quota, clock } = deps
    this.#deps = deps
    this.#demand = new DemandForecast(clock)
    this.#canStretch = ttlMs > 0 && maxTtlMs > ttlMs
    this.#minS = Math.min(1, (ttlMs / 1000) * MIN_WEIGHT)
    this.#maxS = (MAX_THETA_TTLS * Math.max(ttlMs, maxTtlMs)) / 1000
    this.#thetaS = ttlMs / 1000
    this.#startedAt = clock.now()
    this.#updatedAt = this.#startedAt
    this.#nextUpdateAt = this.#startedAt + (INITIAL_UPDATES_MS[0] as number)
    this.#resetAt = quota.resetAtMs
    this.#spent = quota.spent

    this.#projected = quota.remaining
  }

  /** θ in s; 0 where nothing is stored. */
  thetaS(nowMs = this.#deps.clock.now()): number {
    if (nowMs >= this.#nextUpdateAt) this.#update(nowMs)
    return this.#thetaS
  }

  /** Whether the quota does not last at CACHE_MAX_TTL either, so that calls must be released evenly. */
  isRationing(nowMs = this.#deps.clock.now()): boolean {
    if (nowMs >= this.#nextUpdateAt) this.#update(nowMs)
    return this.#isRationing
  }

  /** Whether there was demand to plan with. */
  get isDemandKnown(): boolean {
    return this.#demand.perMs > 0
  }

  /** Calls expected to be left at the reset; negative where the demand exceeds the quota. */
  get projectedRemaining(): number {
    return this.#projected
  }

  #update(nowMs: number): void {
    const elapsedMs = nowMs - this.#updatedAt
    const calls = this.#countCalls()
    const lookups = this.#deps.lookups() - this.#lookups
    this.#lookups += lookups
    this.#schedule(nowMs)
    this.#demand.record(lookups)
    const fading = Math.exp(-elapsedMs / DAY_MS)
    this.#callsOfDay = this.#callsOfDay * fading + calls
    this.#lookupsOfDay = this.#lookupsOfDay * fading + lookups
    if (this.#demand.perMs > 0) this.#steer(calls, elapsedMs)
  }

  #schedule(nowMs: number): void {
    this.#updatedAt = nowMs
    const next = INITIAL_UPDATES_MS[++this.#updates]
    const interval = nowMs + UPDATE_INTERVAL_MS
    this.#nextUpdateAt = next === undefined ? interval : Math.max(nowMs + 1, this.#startedAt + next)
  }

  /** Calls since the last update. Those between it and a reset are unknown; a refund counts as less than none. */
  #countCalls(): number {
    const { spent, resetAtMs } = this.#deps.quota
    const calls = resetAtMs === this.#resetAt ? spent - this.#spent : spent
    this.#spent = spent
    this.#resetAt = resetAtMs
    return calls
  }

  #steer(calls: number, elapsedMs: number): void {
    const perMs = this.#plannedPerMs()
    const kept = Math.exp((-perMs * elapsedMs) / MEMORY_CALLS)
    this.#planned = this.#planned * kept + perMs * elapsedMs
    this.#made = Math.max(0, this.#made * kept + calls)
    const excess = (this.#made + DAMPING_CALLS) / (this.#planned + DAMPING_CALLS)
    // Many calls at once are as good a reason to move as much time: a cold start must not spend the day's calls.
    const moved = 1 - Math.exp(-Math.max(perMs * elapsedMs, calls) / MEMORY_CALLS)
    if (this.#canStretch) this.#setTheta(this.#commonThetaS() * excess ** (GAIN * moved))
    const isHighest = !this.#canStretch || this.#thetaS === this.#maxS
    this.#isRationing = isHighest && this.#made > this.#planned
    this.#projected = this.#deps.quota.remaining * (1 - (1 - UNPLANNED_SHARE) * excess)
  }

  #setTheta(thetaS: number): void {
    this.#thetaS = Math.max(this.#minS, Math.min(this.#maxS, thetaS))
    this.#deps.shared?.publish(this.#thetaS)
  }

  /** Half way, on a logarithmic scale, to the price of another replica. */
  #commonThetaS(): number {
    const other = this.#deps.shared?.latestThetaS() ?? null
    return other === null || !(other > 0) ? this.#thetaS : Math.sqrt(this.#thetaS * other)
  }

  /** Calls per ms to make at the present demand. */
  #plannedPerMs(): number {
    const { per, spent, remaining, resetAtMs } = this.#deps.quota
    const now = this.#deps.clock.wall()
    const lasting = (remaining * (1 - UNPLANNED_SHARE)) / this.#equivalentMs(resetAtMs)
    const perDay = (spent + remaining) / daysOfPeriod(per, resetAtMs)
    return Math.min(lasting, (MAX_SPEED * perDay) / this.#equivalentMs(now + DAY_MS))
  }

  /** The time from now to `untilMs`, an hour with more demand than now counting as longer, with less as shorter. */
  #equivalentMs(untilMs: number): number {
    const callsPerLookup = this.#lookupsOfDay > 0 ? Math.min(1, this.#callsOfDay / this.#lookupsOfDay) : 1
    const power = (1 + Math.max(0, callsPerLookup)) / 2
    const parts = this.#demand.expected(untilMs)
    return Math.max(
      1,
      parts.reduce((sum, { ms, ratio }) => sum + ms * ratio ** power, 0),
    )
  }
}

function daysOfPeriod(per: PacedQuota['per'], resetAtMs: number): number {
  if (per === 'day') return 1
  return new Date(resetAtMs - DAY_MS).getUTCDate()
}
