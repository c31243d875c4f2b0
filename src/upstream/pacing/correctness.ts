import type { StationState } from '../../source.ts'
import { RollingMean } from './rolling-mean.ts'

/** Shares of stations are in 1/1024ths: V8 keeps small integers in the cache entry itself. */
const SHARE_UNIT = 1024
/** Of the answers held for very long, the share that differs: before a station is known. */
const INITIAL_SHARE = 0.7
/** About a visit to a charging point, in s. */
const INITIAL_MEMORY_S = 1_200
const MIN_MEMORY_S = 300
const MAX_MEMORY_S = 7_200
/** What the initial memory counts as, and the most that calls count as: Fisher's information of its logarithm. */
const INITIAL_INFORMATION = 100
const MAX_INFORMATION = 2_000
/** The same for the share of one station, about 10 calls. */
const STATION_INFORMATION = 50
/** And for the mean share of all stations, about 10 and 1,000 calls. */
const INITIAL_MEAN_INFORMATION = 50
const MAX_MEAN_INFORMATION = 5_000
const MAX_DEMAND_WEIGHT = 20
/** Stations are about as full as at this hour of the day before, and least so twelve hours later. */
const DAILY_SWING = 0.12
const DAY_S = 86_400
const MEAN_SERVED_STEP = 1 / 100
/** Where nearly every request is a call, the few others still teach. */
const MIN_MEAN_SERVED = 0.1
const MAX_CHANCE = 0.98
/** An update of the logarithm of the memory never exceeds this. */
const MAX_STEP = 0.5

/** What is known of the answers of one station. */
export type StationChanges = Pick<StationState, 'differing1024ths'>

export interface Comparison {
  /** The answer differs from the one before it. */
  readonly differs: boolean
  /** Time between the two answers. */
  readonly gapMs: number
  /** Requests served with the older one. */
  readonly served: number
}

/**
 * Estimates the share of the served answers that upstream would still give.
 *
 * An answer of age a differs with p = share × (1 − e^(−a / memory)) × swing(a): a station forgets its state in about the
 * time that cars stay, some answers are the same again by chance, and after a day more than after half a day. Every call
 * shows whether an answer of a known age had changed. From that are learned the memory, the mean share, and what each
 * station's share is above or below it. Each moves by the slope of the log-likelihood over the information, a Kalman
 * filter in one dimension.
 *
 * Changes over time would mislead: where calls are rare, one call finds one change though there were many. Where a
 * station gets less than a call a day, the estimate is too high by up to 7 percentage points in npm run bench:quota.
 */
export class Correctness {
  readonly #served = new RollingMean()
  #meanShare = INITIAL_SHARE
  #meanServed = 0
  #logMemoryS = Math.log(INITIAL_MEMORY_S)
  #information = INITIAL_INFORMATION
  #meanInformation = INITIAL_MEAN_INFORMATION

  /** What is known after a call, or after an answer taken over from a replica. */
  compared(station: StationChanges, { differs, gapMs, served }: Comparison): StationChanges {
    if (gapMs <= 0) return station
    const share = this.#shareOf(station)
    const ratio = gapMs / 1000 / this.#memoryS
    const swing = dailySwing(gapMs / 1000)
    const p = Math.max(1e-5, Math.min(MAX_CHANCE, share * (1 - Math.exp(-ratio)) * swing))
    const error = ((differs ? 1 : 0) - p) / (p * (1 - p))
    const slope = (1 - Math.exp(-ratio)) * swing
    const information = slope ** 2 / (p * (1 - p))
    const weight = this.#demandWeight(served)
    this.#meanInformation = Math.min(MAX_MEAN_INFORMATION, this.#meanInformation + weight * information)
    this.#meanShare = bounded(this.#meanShare + (weight * error * slope) / this.#meanInformation)
    this.#learnMemory(-share * swing * ratio * Math.exp(-ratio), error, p * (1 - p))
    const learned = bounded(share + (error * slope) / (STATION_INFORMATION + information))
    return { differing1024ths: Math.round((learned - this.#meanShare) * SHARE_UNIT) }
  }

  /** A request was served at this age; 0 for the one that waited for the call. */
  served(station: StationChanges, ageMs: number, nowMs: number): void {
    this.#served.record(this.probability(station, ageMs), nowMs)
  }

  /** How likely an answer of this age is still correct, 0 to 1. */
  probability(station: StationChanges, ageMs: number): number {
    const ageS = Math.max(0, ageMs / 1000)
    const forgotten = 1 - Math.exp(-ageS / this.#memoryS)
    return 1 - Math.min(MAX_CHANCE, this.#shareOf(station) * forgotten * dailySwing(ageS))
  }

  /** Over the answers served in the last five minutes; null when there were none. */
  ratio(nowMs: number): number | null {
    return this.#served.mean(nowMs)
  }

  /** What {@link restore} takes. */
  learned(): readonly number[] {
    return [this.#meanShare, this.#logMemoryS, this.#information, this.#meanInformation, this.#meanServed]
  }

  /** Continues with what an earlier process has learned. Ignores what it cannot have. */
  restore(learned: readonly number[]): void {
    const [share = 0, logMemoryS = 0, information = 0, meanInformation = 0, meanServed = -1] = learned
    const isPossible = share > 0 && share <= 1 && information > 0 && meanInformation > 0 && meanServed >= 0
    if (!isPossible || logMemoryS < Math.log(MIN_MEMORY_S) || logMemoryS > Math.log(MAX_MEMORY_S)) return
    this.#meanShare = share
    this.#logMemoryS = logMemoryS
    this.#information = Math.min(MAX_INFORMATION, information)
    this.#meanInformation = Math.min(MAX_MEAN_INFORMATION, meanInformation)
    this.#meanServed = meanServed
  }

  get #memoryS(): number {
    return Math.exp(this.#logMemoryS)
  }

  #shareOf({ differing1024ths }: StationChanges): number {
    return bounded(this.#meanShare + differing1024ths / SHARE_UNIT)
  }

  /** The ratio is one of requests, so a call counts by the requests that its predecessor served; none teach nothing. */
  #demandWeight(served: number): number {
    this.#meanServed += (served - this.#meanServed) * MEAN_SERVED_STEP
    return Math.min(MAX_DEMAND_WEIGHT, served / Math.max(MIN_MEAN_SERVED, this.#meanServed))
  }

  #learnMemory(slope: number, error: number, variance: number): void {
    this.#information = Math.min(MAX_INFORMATION, this.#information + slope ** 2 / variance)
    const step = (error * slope) / this.#information
    const logMemoryS = this.#logMemoryS + Math.max(-MAX_STEP, Math.min(MAX_STEP, step))
    this.#logMemoryS = Math.max(Math.log(MIN_MEMORY_S), Math.min(Math.log(MAX_MEMORY_S), logMemoryS))
  }
}

function dailySwing(ageS: number): number {
  return 1 + (DAILY_SWING * (1 - Math.cos((2 * Math.PI * ageS) / DAY_S))) / 2
}

function bounded(share: number): number {
  return Math.max(0.01, Math.min(1, share))
}
