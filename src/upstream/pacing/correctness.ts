import type { Clock } from '../../lib/clock.ts'
import type { StationState } from '../../source.ts'
import { KalmanFilter } from './kalman-filter.ts'
import type { Comparison, OccupancyByHour } from './occupancy.ts'
import { chanceOfSame, turnoverOf } from './occupancy.ts'
import { RollingMean } from './rolling-mean.ts'
import { MAX_INFORMATION, packEvidence, unpackEvidence } from './station-evidence.ts'

/** What is expected of a station: the logarithm of its load at one request an hour, and its slope over that of requests. */
const LOAD = [
  { initial: -0.5, deviation: 0.7, min: -4, max: 2 },
  { initial: 0.2, deviation: 0.2, min: 0, max: 1 },
]
/** The logarithm of the time in s that a car stays, and the load by hour of the day. */
const HOURS = [
  { initial: Math.log(3_600), deviation: 0.25, min: Math.log(600), max: Math.log(21_600) },
  { initial: 0, deviation: 0.3, min: -1.5, max: 1.5 },
  { initial: 0, deviation: 0.3, min: -1.5, max: 1.5 },
]
/** Of the logarithm of the load, among stations that are asked for equally often. */
const STATION_VARIANCE = 1.5
/** Three values and weights that stand for a normal distribution (Gauss-Hermite). */
const NORMAL = [
  [0, 2 / 3],
  [Math.sqrt(3), 1 / 6],
  [-Math.sqrt(3), 1 / 6],
] as const
/** A step for derivatives. */
const STEP = 0.01
/** One call never moves the logarithm of a station's load by more than this. */
const MAX_STATION_STEP = 1.5
const HOUR_MS = 3_600_000
const MAX_LOG_REQUESTS = 4
/** What an answer counts that nobody asked for again: where nearly each request is a call, calls teach all the same. */
const UNSERVED_WEIGHT = 0.3
const MAX_DEMAND_WEIGHT = 10
const MEAN_WEIGHT_STEP = 1 / 200
const [MIN_CHANCE, MAX_CHANCE] = [0.001, 0.999]
/** So many requests are taken into the estimate in this time: more would cost more and say the same. */
const MAX_SAMPLES = 20
const SAMPLES_MS = 100

/** What is known of the answers of one station. */
export type StationChanges = Pick<StationState, 'served' | 'evidence'>

/** A call's answer, or one taken over from a replica, compared with the one that it replaces. */
export interface ComparedAnswer {
  readonly differs: boolean
  /** Time between the two. */
  readonly gapMs: number
}

/**
 * Estimates the share of the served answers that upstream would still give.
 *
 * How likely an answer is the same after some time follows from the station's load (occupancy.ts), which is learned from
 * what calls find. The load of one station is what its own calls have shown and, as long as they are few, what is expected
 * of a station that is asked for as often: popular stations are busier, and where calls are rare nothing else is known.
 * That expectation counts calls by the requests that the replaced answer has served, because the estimate is a share of
 * requests. The time that cars stay and the load by hour of the day are the same for all stations.
 *
 * Changes over time would mislead: where calls are rare, one call finds one change though there were many.
 */
export class Correctness {
  readonly #clock: Pick<Clock, 'now' | 'wall'>
  readonly #served = new RollingMean()
  readonly #load = new KalmanFilter(LOAD)
  readonly #hours = new KalmanFilter(HOURS)
  /** Null before the first call. */
  #meanWeight: number | null = null
  #model: Model
  #samples = 0
  #samplesEndAt = 0

  constructor(clock: Pick<Clock, 'now' | 'wall'>) {
    this.#clock = clock
    this.#model = this.#currentModel()
  }

  /** What is known after a call, or after an answer taken over from a replica. */
  compared(station: StationChanges, { differs, gapMs }: ComparedAnswer): number {
    if (gapMs <= 0) return station.evidence
    const comparison = { ageMs: gapMs, atMs: this.#clock.wall() }
    const parameters = [...this.#load.means, ...this.#hours.means]
    const chance = (changed: readonly number[], shift = 0) =>
      this.#chance(station, comparison, toModel(changed, shift))
    const same = Math.max(MIN_CHANCE, Math.min(MAX_CHANCE, chance(parameters)))
    const slopes = parameters.map((_, i) => {
      const moved = parameters.map((value, j) => (i === j ? value + STEP : value))
      return (chance(moved) - same) / STEP
    })
    const error = (differs ? 0 : 1) - same
    const variance = same * (1 - same)
    const stationSlope = (chance(parameters, STEP) - same) / STEP
    const evidence = this.#evidenceAfter(station, { ageMs: gapMs, error, variance, slope: stationSlope })
    const weight = this.#demandWeight(station.served)
    this.#load.update({ slopes: slopes.slice(0, LOAD.length), error, variance: variance / weight })
    this.#hours.update({ slopes: slopes.slice(LOAD.length), error, variance })
    this.#model = this.#currentModel()
    return evidence
  }

  /** A request was served at this age; 0 for the one that waited for the call. */
  served(station: StationChanges, ageMs: number): void {
    const now = this.#clock.now()
    if (now >= this.#samplesEndAt) {
      this.#samples = 0
      this.#samplesEndAt = now + SAMPLES_MS
    }
    if (++this.#samples > MAX_SAMPLES) return
    this.#served.record(this.probability(station, ageMs), now)
  }

  /** How likely an answer of this age is still correct, 0 to 1. */
  probability(station: StationChanges, ageMs: number): number {
    return this.#chance(station, { ageMs, atMs: this.#clock.wall() }, this.#model)
  }

  /** Over the answers served in the last five minutes; null when there were none. */
  ratio(): number | null {
    return this.#served.mean(this.#clock.now())
  }

  /** What {@link restore} takes. */
  learned(): readonly number[] {
    return [...this.#load.learned(), ...this.#hours.learned(), this.#meanWeight ?? 0]
  }

  /** Continues with what an earlier process has learned. Ignores what it cannot have. */
  restore(learned: readonly number[]): void {
    const [loads, hours] = [this.#load.learned().length, this.#hours.learned().length]
    const meanWeight = learned[loads + hours] ?? 0
    if (learned.length !== loads + hours + 1 || !(meanWeight > 0)) return
    if (!this.#load.restore(learned.slice(0, loads))) return
    this.#hours.restore(learned.slice(loads, loads + hours))
    this.#meanWeight = meanWeight
    this.#model = this.#currentModel()
  }

  #currentModel(): Model {
    return toModel([...this.#load.means, ...this.#hours.means], 0)
  }

  /** The mean over what the station's load may be. */
  #chance(station: StationChanges, comparison: Comparison, model: Model): number {
    if (comparison.ageMs <= 0) return 1
    const { expected, information } = this.#logLoadOf(station, comparison.ageMs, model)
    const deviation = Math.sqrt(1 / information)
    const turnover = turnoverOf(model, comparison)
    let sum = 0
    for (const [value, weight] of NORMAL) {
      sum += weight * chanceOfSame(Math.exp(expected + model.shift + value * deviation), turnover)
    }
    return sum
  }

  /** The logarithm of a station's load: its own evidence, and what is expected of such a station. */
  #logLoadOf({ served, evidence }: StationChanges, ageMs: number, { load, slope }: Model) {
    const own = unpackEvidence(evidence)
    const requests = Math.log((served + 1) / (ageMs / HOUR_MS + 1))
    const common = load + slope * Math.max(-MAX_LOG_REQUESTS, Math.min(MAX_LOG_REQUESTS, requests))
    const information = own.information + 1 / STATION_VARIANCE
    const expected = (own.value * own.information + common / STATION_VARIANCE) / information
    return { common, expected, information }
  }

  #evidenceAfter(station: StationChanges, found: Found): number {
    const { common, expected, information } = this.#logLoadOf(station, found.ageMs, this.#model)
    const gained = found.slope ** 2 / found.variance
    const step = (found.error * found.slope) / found.variance / (information + gained)
    const learned = expected + Math.max(-MAX_STATION_STEP, Math.min(MAX_STATION_STEP, step))
    const own = Math.min(MAX_INFORMATION, information - 1 / STATION_VARIANCE + gained)
    if (own === 0) return station.evidence
    // The value that, together with the expectation, gives what was learned.
    const value = learned + (learned - common) / STATION_VARIANCE / own
    return packEvidence({ value, information: own })
  }

  #demandWeight(served: number): number {
    const weight = served + UNSERVED_WEIGHT
    this.#meanWeight ??= weight
    this.#meanWeight += (weight - this.#meanWeight) * MEAN_WEIGHT_STEP
    return Math.min(MAX_DEMAND_WEIGHT, weight / this.#meanWeight)
  }
}

interface Model extends OccupancyByHour {
  readonly load: number
  readonly slope: number
  /** Added to the logarithm of the station's load. */
  readonly shift: number
}

/** What a comparison has shown of a station. */
interface Found {
  readonly ageMs: number
  readonly error: number
  readonly variance: number
  /** Derivative of the chance for the logarithm of the load. */
  readonly slope: number
}

function toModel(parameters: readonly number[], shift: number): Model {
  const [load = 0, slope = 0, logStayS = 0, cosine = 0, sine = 0] = parameters
  return { load, slope, logStayS, cosine, sine, shift }
}
