import type { ChangeRate } from './change-rate.ts'
import type { StationUsage } from './station-ttl.ts'
import { WEIGHT_UNIT } from './station-ttl.ts'
import { RollingMean } from './rolling-mean.ts'

/** Calibration points: expected changes since the call, in powers of two from 2^-7 to 2^6. */
const MIN_EXPONENT = -7
const POINTS = 14
/** How much the prior counts, in calls. */
const PRIOR_CALLS = 2
/** Above this, older calls of a point count half. */
const MAX_CALLS = 500

/**
 * Estimates the share of the served answers that upstream would still give.
 *
 * Every call shows whether an answer of a known age was still correct. Calls are sorted by the expected number of
 * changes since the previous call (age × the station's rate of change); an answer that is served is as likely to be
 * correct as the calls with that number of expected changes found. The rates need not be exact for that, and answers
 * that change and change back are accounted for. The prior is a Poisson process: e^−changes.
 */
export class Correctness {
  readonly #meanRate: ChangeRate
  readonly #calls = new Float64Array(POINTS).fill(PRIOR_CALLS)
  readonly #unchanged = Float64Array.from(
    { length: POINTS },
    (_, i) => PRIOR_CALLS * Math.exp(-(2 ** (i + MIN_EXPONENT))),
  )
  readonly #served = new RollingMean()

  constructor(meanRate: ChangeRate) {
    this.#meanRate = meanRate
  }

  /** A call, or an answer taken over from a replica, showed whether the answer before it was still correct. */
  found(usage: StationUsage, { differs, gapMs }: { differs: boolean; gapMs: number }): void {
    const { point, part } = this.#position(usage, gapMs)
    this.#add(point, 1 - part, differs)
    this.#add(point + 1, part, differs)
  }

  /** A request was served at this age; 0 for the one that waited for the call. */
  served(usage: StationUsage, ageMs: number, nowMs: number): void {
    this.#served.record(this.probability(usage, ageMs), nowMs)
  }

  /** How likely an answer of this age is still correct, 0 to 1. */
  probability(usage: StationUsage, ageMs: number): number {
    if (ageMs <= 0) return 1
    const { point, part } = this.#position(usage, ageMs)
    return this.#share(point) * (1 - part) + this.#share(point + 1) * part
  }

  /** Over the answers served in the last five minutes; null when there were none. */
  ratio(nowMs: number): number | null {
    return this.#served.mean(nowMs)
  }

  #position({ weight1024ths }: StationUsage, ageMs: number) {
    const rate = this.#meanRate.perSecond * (weight1024ths / WEIGHT_UNIT) ** 2
    const exponent = Math.log2((ageMs / 1000) * rate) - MIN_EXPONENT
    const position = Math.max(0, Math.min(POINTS - 1.001, exponent))
    const point = Math.floor(position)
    return { point, part: position - point }
  }

  #share(point: number): number {
    return (this.#unchanged[point] as number) / (this.#calls[point] as number)
  }

  #add(point: number, part: number, differs: boolean): void {
    this.#calls[point] = (this.#calls[point] as number) + part
    if (!differs) this.#unchanged[point] = (this.#unchanged[point] as number) + part
    if ((this.#calls[point] as number) <= MAX_CALLS) return
    this.#calls[point] = (this.#calls[point] as number) / 2
    this.#unchanged[point] = (this.#unchanged[point] as number) / 2
  }
}
