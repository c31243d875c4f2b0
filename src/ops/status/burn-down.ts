import type { QuotaForecast } from '../../gauges.ts'
import type { Clock } from '../../lib/clock.ts'

/** Quota usage at one moment. */
export interface QuotaReading {
  readonly limit: number
  readonly remaining: number
  /** Milliseconds since the epoch. */
  readonly resetAtMs: number
}

interface Sample {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly remaining: number
}

/** The calls of late, and what pacing expects of the quota at the reset. */
export interface Projection {
  /** Calls per hour, measured over at most an hour. */
  readonly perHour: number
  /** Calls that pacing expects to be left at the reset, as in the forecast: never less than 0. */
  readonly remainingAtReset: number
  /** Now, in ms since the epoch, if nothing is left; else null: pacing makes the quota last until the reset. */
  readonly spentAtMs: number | null
}

/** Points per period: one every five minutes of a day. */
export const POINTS = 288
const MINUTE = 60_000
const HOUR = 3_600_000
/** Minimum span of the samples for the calls per hour; a rate over less time is mostly noise. */
const MIN_SPAN_MS = 120_000

/** How the quota of a period is used up: its points since the start of the period, and a projection to the reset. */
export class BurnDown {
  readonly #read: () => QuotaReading | null
  readonly #per: 'day' | 'month'
  readonly #clock: Pick<Clock, 'wall'>
  /** Calls left at the last sample of each part of the period; NaN for parts without a sample. */
  readonly #points = new Float64Array(POINTS).fill(Number.NaN)
  #samples: Sample[] = []
  #resetAtMs = 0

  constructor(read: () => QuotaReading | null, per: 'day' | 'month', clock: Pick<Clock, 'wall'>) {
    this.#read = read
    this.#per = per
    this.#clock = clock
  }

  /** Records the quota; to be called whenever it may have changed. */
  sample(): void {
    const quota = this.#read()
    if (quota === null) return
    const now = this.#clock.wall()
    if (quota.resetAtMs !== this.#resetAtMs) this.#startPeriod(quota.resetAtMs)
    this.#points[this.#partOf(now)] = quota.remaining
    this.#addSample(now, quota.remaining)
  }

  /** The start of the period, in ms since the epoch. */
  get startedAtMs(): number {
    const reset = new Date(this.#resetAtMs)
    return this.#per === 'day'
      ? this.#resetAtMs - 24 * HOUR
      : Date.UTC(reset.getUTCFullYear(), reset.getUTCMonth() - 1)
  }

  /** The length of each part of the period, in ms. */
  get partMs(): number {
    return (this.#resetAtMs - this.startedAtMs) / POINTS
  }

  /** `[part, calls left at its end]`, counted from 0, of the parts that end after `sinceMs`. */
  points(sinceMs: number): (readonly [part: number, remaining: number])[] {
    const first = this.#partOf(sinceMs)
    return [...this.#points.entries()].filter(([part, left]) => part >= first && !Number.isNaN(left))
  }

  /**
   * Null without a quota, until pacing knows the demand for long enough, and until the samples span two minutes. The calls
   * of the last hour are not extrapolated: the demand follows the hour of the day, and pacing makes fewer when they get
   * scarce.
   */
  projection(forecast: Pick<QuotaForecast, 'isProjected' | 'projectedRemaining'> | null): Projection | null {
    const quota = this.#read()
    const [oldest] = this.#samples
    const now = this.#clock.wall()
    if (quota === null || forecast?.isProjected !== true) return null
    if (oldest === undefined || now - oldest.at < MIN_SPAN_MS) return null
    const perMs = Math.max(0, oldest.remaining - quota.remaining) / (now - oldest.at)
    const spentAtMs = quota.remaining <= 0 ? now : null
    return { perHour: perMs * HOUR, remainingAtReset: forecast.projectedRemaining, spentAtMs }
  }

  #startPeriod(resetAtMs: number): void {
    this.#points.fill(Number.NaN)
    this.#samples = []
    this.#resetAtMs = resetAtMs
  }

  /** Keeps samples at least a minute apart: those of the last hour, and the last one before it as the baseline. */
  #addSample(now: number, remaining: number): void {
    const samples = this.#samples
    const last = samples.at(-1)
    if (last === undefined || now - last.at >= MINUTE) samples.push({ at: now, remaining })
    while (samples.length > 1 && now - (samples[1] as Sample).at >= HOUR) samples.shift()
  }

  #partOf(atMs: number): number {
    const part = Math.floor((atMs - this.startedAtMs) / this.partMs)
    return Math.max(0, Math.min(POINTS - 1, part))
  }
}
