import type { Clock } from '../../lib/clock.ts'
import { MIN_WEIGHT } from '../../lib/change-weight.ts'
import { initiallyReleased } from '../state/quota-period.ts'
import type { PacedQuota } from './call-plan.ts'
import { CallPlan } from './call-plan.ts'
import type { LearnedPrice, PacingStore } from './learned-pacing.ts'

export interface PriceOptions {
  /** CACHE_TTL. */
  readonly ttlMs: number
  /** CACHE_MAX_TTL. */
  readonly maxTtlMs: number
}

export interface PriceDeps {
  readonly quota: PacedQuota
  /** Lookups since the start. */
  readonly lookups: () => number
  readonly clock: Pick<Clock, 'now' | 'wall'>
  /** Null where the quota is not shared. */
  readonly shared?: Pick<PacingStore, 'latestThetaS' | 'publishTheta'> | null
}

/** The price is updated this long after the start, and then every 5 s. */
const INITIAL_UPDATES_MS = [500, 1_000, 2_000, 5_000]
const UPDATE_INTERVAL_MS = 5_000
/** In between, a burst of this many calls updates it, or of this part of those that are released at the start. */
const CALLS_PER_UPDATE = 10
const RELEASED_PART_PER_UPDATE = 0.2
/** Calls that would use up what is released at the start within this time may be a burst. */
const BURST_MS = 60_000
/** A burst of about so many calls drives the price to its maximum. */
const MAX_BURST_TO_STEER = 100
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
 */
export class Price {
  readonly #deps: PriceDeps
  readonly #plan: CallPlan
  /** Whether a longer TTL can save calls. */
  readonly #canStretch: boolean
  readonly #minS: number
  readonly #maxS: number
  readonly #startedAt: number
  #updates = 0
  #updatedAt: number
  #nextUpdateAt: number
  /** Up to when plan and calls were compared. */
  #steeredAt: number
  #thetaS: number
  /** Until the demand is known, the calls released at the start must suffice. */
  #isRationing = true
  #isDemandKnown = false
  #resetAt: number
  #account: string | null
  #spent: number
  #lookups = 0
  /** Calls since the start, and those of them that the plan does not have yet. */
  #calls = 0
  #unrecordedCalls = 0
  /** Calls planned and made, fading over MEMORY_CALLS planned calls. */
  #planned = 0
  #made = 0
  /** Calls that were spent before and not released since, fading as well. */
  #ahead: number

  constructor({ ttlMs, maxTtlMs }: PriceOptions, deps: PriceDeps) {
    const { quota, clock } = deps
    this.#deps = deps
    this.#plan = new CallPlan(quota, clock)
    this.#canStretch = ttlMs > 0 && maxTtlMs > ttlMs
    this.#minS = Math.min(1, (ttlMs / 1000) * MIN_WEIGHT)
    this.#maxS = (MAX_THETA_TTLS * Math.max(ttlMs, maxTtlMs)) / 1000
    this.#thetaS = ttlMs / 1000
    this.#startedAt = clock.now()
    this.#updatedAt = this.#startedAt
    this.#steeredAt = this.#startedAt
    this.#nextUpdateAt = this.#startedAt + (INITIAL_UPDATES_MS[0] as number)
    this.#resetAt = quota.resetAtMs
    this.#account = quota.account ?? null
    this.#spent = quota.spent
    this.#lookups = deps.lookups()
    this.#ahead = this.#unreleased()
  }

  /** θ in s; 0 where nothing is stored. */
  thetaS(nowMs = this.#deps.clock.now()): number {
    if (nowMs >= this.#nextUpdateAt) this.#update(nowMs)
    return this.#thetaS
  }

  /** Whether the quota does not last at CACHE_MAX_TTL either, so that calls must be released evenly. */
  isRationing(nowMs = this.#deps.clock.now()): boolean {
    if (nowMs >= this.#nextUpdateAt) this.#update(nowMs)
    else if (this.#deps.quota.spent - this.#spent >= this.#callsPerUpdate)
      this.#steer(nowMs, this.#countCalls())
    return this.#isRationing
  }

  /** Whether there was enough demand to decide on rationing. */
  get isDemandKnown(): boolean {
    return this.#isDemandKnown
  }

  /** Whether the demand was observed for long enough to project what will be left. */
  get isProjected(): boolean {
    return this.#plan.isProjected
  }

  /** Calls expected to be left at the reset; all that remain, as long as that is not known. */
  get projectedRemaining(): number {
    return this.#plan.projectedRemaining()
  }

  learned(): LearnedPrice {
    return { thetaS: this.#thetaS, limit: this.#limit, ...this.#plan.learned() }
  }

  /** Continues with what an earlier process has learned. Without effect once the demand was observed for long enough. */
  restore(learned: LearnedPrice): void {
    if (this.isProjected) return
    this.#plan.restore(learned)
    if (this.#canStretch && learned.limit === this.#limit) this.#thetaS = this.#bounded(learned.thetaS)
  }

  #update(nowMs: number): void {
    const elapsedMs = nowMs - this.#updatedAt
    const calls = this.#countCalls()
    const lookups = this.#deps.lookups() - this.#lookups
    this.#lookups += lookups
    this.#schedule(nowMs)
    const hadDemand = this.#plan.hasDemand
    this.#plan.record({ calls: this.#unrecordedCalls, lookups, elapsedMs })
    this.#unrecordedCalls = 0
    this.#isDemandKnown ||= hadDemand && !this.#mayBeBurst(nowMs)
    if (this.#plan.hasDemand) this.#steer(nowMs, calls)
    else this.#steeredAt = nowMs
  }

  #schedule(nowMs: number): void {
    this.#updatedAt = nowMs
    const next = INITIAL_UPDATES_MS[++this.#updates]
    const interval = nowMs + UPDATE_INTERVAL_MS
    this.#nextUpdateAt = next === undefined ? interval : Math.max(nowMs + 1, this.#startedAt + next)
  }

  /** Calls since the last time. Those between it and a reset are unknown; a refund counts as less than none. */
  #countCalls(): number {
    const { spent, resetAtMs, account = null, spentBefore = spent } = this.#deps.quota
    const isReset = resetAtMs !== this.#resetAt
    const isOther = !isReset && account !== this.#account
    const calls = isReset ? spent : spent - (isOther ? spentBefore : this.#spent)
    this.#spent = spent
    this.#resetAt = resetAtMs
    this.#account = account
    if (isOther) this.#ahead = Math.max(0, this.#unreleased() - calls)
    this.#calls += calls
    this.#unrecordedCalls += calls
    return calls
  }

  #steer(nowMs: number, calls: number): void {
    const planned = this.#plan.perMs() * (nowMs - this.#steeredAt)
    this.#steeredAt = nowMs
    const kept = Math.exp(-planned / MEMORY_CALLS)
    this.#planned = this.#planned * kept + planned
    this.#made = Math.max(0, this.#made * kept + calls)
    this.#ahead *= kept
    const excess = (this.#made + DAMPING_CALLS) / (this.#planned + DAMPING_CALLS)
    // A burst counts like the time in which as many calls are planned: a cold start must not spend the day's calls.
    const moved = 1 - Math.exp(-Math.max(planned, calls) / MEMORY_CALLS)
    if (this.#canStretch) this.#setTheta(this.#commonThetaS() * excess ** (GAIN * moved))
    const isHighest = !this.#canStretch || this.#thetaS === this.#maxS
    const excessCalls = this.#made - this.#planned
    this.#isRationing =
      !this.#isDemandKnown || this.#isSmallQuotaAhead(excessCalls) || (isHighest && excessCalls > 0)
  }

  /** A small quota would be spent before the price has reached its maximum. */
  #isSmallQuotaAhead(excessCalls: number): boolean {
    const released = initiallyReleased(this.#limit)
    return released < MAX_BURST_TO_STEER && this.#ahead + excessCalls > released - 1
  }

  /** What is missing of the calls that are released at a start. */
  #unreleased(): number {
    const { released = Number.POSITIVE_INFINITY } = this.#deps.quota
    return Math.max(0, initiallyReleased(this.#limit) - released)
  }

  get #callsPerUpdate(): number {
    return Math.min(CALLS_PER_UPDATE, initiallyReleased(this.#limit) * RELEASED_PART_PER_UPDATE)
  }

  /** Calls at this pace use up what is released at the start within a minute, and the rest of the quota is not for that. */
  #mayBeBurst(nowMs: number): boolean {
    const passed = (nowMs - this.#startedAt) / BURST_MS
    return passed < 1 && this.#calls > initiallyReleased(this.#limit) * passed
  }

  #setTheta(thetaS: number): void {
    this.#thetaS = this.#bounded(thetaS)
    this.#deps.shared?.publishTheta(this.#thetaS)
  }

  #bounded(thetaS: number): number {
    return Math.max(this.#minS, Math.min(this.#maxS, thetaS))
  }

  /** Half way, on a logarithmic scale, to the price of another replica. */
  #commonThetaS(): number {
    const other = this.#deps.shared?.latestThetaS() ?? null
    return other === null || !(other > 0) ? this.#thetaS : Math.sqrt(this.#thetaS * other)
  }

  get #limit(): number {
    return Math.round(this.#deps.quota.spent + this.#deps.quota.remaining)
  }
}
