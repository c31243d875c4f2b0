import type { Clock } from '../../lib/clock.ts'
import type { StationState } from '../../source.ts'
import { ChangeRate } from './change-rate.ts'
import { Correctness } from './correctness.ts'
import type { LearnedChanges } from './learned-pacing.ts'
import type { Price, PriceOptions } from './price.ts'
import { RollingMean } from './rolling-mean.ts'
import type { StationUsage } from './station-ttl.ts'
import { newStationUsage, recordServed, stationTtlMs, usageAfterAnswer } from './station-ttl.ts'

/** An answer that replaces an older one. */
export interface Replacement {
  /** Whether a count of a connector differs. */
  readonly differs: boolean
  /** Time between the two answers. */
  readonly gapMs: number
}

export interface StationPacingDeps {
  readonly price: Price
  readonly clock: Pick<Clock, 'now' | 'wall'>
}

/** A TTL for each station with connectors, under a quota. */
export class StationPacing {
  readonly #price: Price
  readonly #clock: Pick<Clock, 'now'>
  readonly #meanRate = new ChangeRate()
  readonly #correctness: Correctness
  readonly #ttls = new RollingMean()
  /** One object for all lookups: a hit allocates nothing. */
  readonly #ttlOptions: { thetaS: number; minTtlMs: number; maxTtlMs: number }

  constructor({ ttlMs, maxTtlMs }: PriceOptions, { price, clock }: StationPacingDeps) {
    this.#price = price
    this.#clock = clock
    this.#correctness = new Correctness(clock)
    this.#ttlOptions = { thetaS: 0, minTtlMs: ttlMs, maxTtlMs: Math.max(ttlMs, maxTtlMs) }
  }

  /** The age at which the station's answer expires, before jitter. */
  ttlMs(state: StationUsage): number {
    this.#ttlOptions.thetaS = this.#price.thetaS(this.#clock.now())
    return stationTtlMs(state, this.#ttlOptions)
  }

  /** A request was served from the cache: a hit, or a stale answer for whatever reason. */
  served(state: StationState, ageMs: number): void {
    this.#observe(state, ageMs)
    recordServed(state, ageMs)
  }

  /** A request waited for the call whose answer this is. */
  waited(state: StationState): void {
    this.#observe(state, 0)
  }

  /** The state of a station's first answer. */
  first(): StationState {
    return { ...newStationUsage(), evidence: 0 }
  }

  /** The state after an answer that replaces an older one: a call's, or one taken over from a replica. */
  after(state: StationState, { differs, gapMs }: Replacement): StationState {
    const evidence = this.#correctness.compared(state, { differs, gapMs })
    return { ...usageAfterAnswer(state, { differs, gapMs }, this.#meanRate), evidence }
  }

  /** Of the answers of the last five minutes, the share expected to be still correct; null without answers. */
  estimatedCorrectRatio(): number | null {
    return this.#correctness.ratio()
  }

  /** The mean TTL in force over the answers of the last five minutes; CACHE_TTL without answers. */
  meanTtlMs(): number {
    return this.#ttls.mean(this.#clock.now()) ?? this.#ttlOptions.minTtlMs
  }

  learned(): LearnedChanges {
    return { rate: this.#meanRate.learned(), correctness: this.#correctness.learned() }
  }

  /** Continues with what an earlier process has learned. */
  restore({ rate, correctness }: LearnedChanges): void {
    this.#meanRate.restore(rate)
    this.#correctness.restore(correctness)
  }

  #observe(state: StationState, ageMs: number): void {
    const now = this.#clock.now()
    this.#correctness.served(state, ageMs)
    this.#ttls.record(this.ttlMs(state), now)
  }
}
