/** One number of what is learned. */
export interface LearnedParameter {
  readonly initial: number
  /** Standard deviation of what is expected before anything is known. */
  readonly deviation: number
  readonly min: number
  readonly max: number
}

/** Uncertainty that each observation adds, as a part of the initial variance: what was learned long ago fades. */
const DRIFT = 1e-4
/** One observation never moves a parameter by more than this. */
const MAX_STEP = 0.5
/** Of rounding, where parameters depend on each other entirely. */
const TOLERANCE = 1e-6

/**
 * Learns a few parameters from observations, one at a time: an extended Kalman filter. Of an observation it takes the
 * derivative of its expected value for each parameter, how far off that value was, and the variance of the difference.
 */
export class KalmanFilter {
  readonly #parameters: readonly LearnedParameter[]
  #means: number[]
  #covariances: number[][]

  constructor(parameters: readonly LearnedParameter[]) {
    this.#parameters = parameters
    this.#means = parameters.map(({ initial }) => initial)
    this.#covariances = parameters.map(({ deviation }, i) =>
      parameters.map((_, j) => (i === j ? deviation ** 2 : 0)),
    )
  }

  get means(): readonly number[] {
    return this.#means
  }

  update({ slopes, error, variance }: { slopes: readonly number[]; error: number; variance: number }): void {
    const shared = this.#covariances.map((row) => dot(row, slopes))
    const total = variance + dot(shared, slopes)
    this.#means = this.#means.map((mean, i) => {
      const { min, max } = this.#parameters[i] as LearnedParameter
      return clamp(mean + clamp(((shared[i] as number) * error) / total, -MAX_STEP, MAX_STEP), min, max)
    })
    this.#covariances = this.#covariances.map((row, i) =>
      row.map((covariance, j) => {
        const known = covariance - ((shared[i] as number) * (shared[j] as number)) / total
        if (i !== j) return known
        const initial = (this.#parameters[i] as LearnedParameter).deviation ** 2
        return clamp(known + initial * DRIFT, initial * DRIFT, initial)
      }),
    )
  }

  /** What {@link restore} takes. */
  learned(): readonly number[] {
    return [...this.#means, ...this.#covariances.flat()]
  }

  /** Continues with what an earlier process has learned; whether that was possible. */
  restore(learned: readonly number[]): boolean {
    const size = this.#parameters.length
    const [means, rest] = [learned.slice(0, size), learned.slice(size)]
    if (rest.length !== size ** 2) return false
    const covariances = means.map((_, i) => rest.slice(i * size, (i + 1) * size))
    const isPossible = this.#parameters.every(({ min, max, deviation }, i) => {
      const [mean, variance] = [means[i] as number, covariances[i]?.[i] as number]
      const isBounded = covariances[i]?.every(
        (covariance, j) => covariance ** 2 <= variance * (covariances[j]?.[j] as number) * (1 + TOLERANCE),
      )
      return mean >= min && mean <= max && variance > 0 && variance <= deviation ** 2 && isBounded
    })
    if (!isPossible) return false
    this.#means = means
    this.#covariances = covariances
    return true
  }
}

function dot(one: readonly number[], other: readonly number[]): number {
  return one.reduce((sum, value, i) => sum + value * (other[i] as number), 0)
}

function clamp(value: number, min: number, max: number): number {
  return Math.max(min, Math.min(max, value))
}
