import { createHistogram } from 'node:perf_hooks'

export interface Latency {
  readonly calls: number
  /** Null without calls, as is `p99Ms`. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
}

/** Minutes of the window. The current minute is one of them, so the window covers 9 to 10 minutes. */
const MINUTES = 10
/** In µs; longer latencies count as this. */
const MAX_US = 600_000_000
/** Two significant figures: a percentile is at most 1 % off. */
const RESOLUTION = { lowest: 1, highest: MAX_US, figures: 2 }

/** Latencies of the last ten minutes. It keeps one histogram per minute, because a histogram cannot drop old values. */
export class LatencyHistogram {
  readonly #minutes = Array.from({ length: MINUTES }, () => createHistogram(RESOLUTION))
  readonly #merged = createHistogram(RESOLUTION)
  #newest: number

  /** Minutes are consecutive whole numbers; `minute` is the current one. */
  constructor(minute: number) {
    this.#newest = minute
  }

  record(minute: number, ms: number): void {
    this.#advance(minute)
    const us = Math.min(MAX_US, Math.max(1, Math.round(ms * 1_000)))
    this.#minutes[this.#newest % MINUTES]?.record(us)
  }

  read(minute: number): Latency {
    this.#advance(minute)
    this.#merged.reset()
    for (const histogram of this.#minutes) this.#merged.add(histogram)
    const calls = this.#merged.count
    const percentileMs = (percentile: number) =>
      calls === 0 ? null : this.#merged.percentile(percentile) / 1_000
    return { calls, p50Ms: percentileMs(50), p99Ms: percentileMs(99) }
  }

  #advance(minute: number): void {
    const skipped = Math.min(minute - this.#newest, MINUTES)
    for (let i = 0; i < skipped; i++) this.#minutes[(minute - i) % MINUTES]?.reset()
    if (minute > this.#newest) this.#newest = minute
  }
}
