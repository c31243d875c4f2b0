import { changeWeight } from '../lib/change-weight.ts'

/** The mean of the recorded stations: 0.55 changes per hour. */
const MEAN_PER_MS = 0.55 / 3_600_000
/** Upstream's own refresh: no station changes faster there. */
const UPSTREAM_REFRESH_MS = 180_000
/** The interval for a station that changes at the mean rate, or of which nothing is known. */
const MEAN_INTERVAL_MS = 60_000

/**
 * The time between two refreshes of a station, from how often its answer changed at earlier ones. With a given number of
 * calls most answers are right if the interval is inversely proportional to the square root of the rate.
 */
export class RefreshInterval {
  #changes = 0
  #observedMs = 0

  /** An answer that came so long after the one before it was different or not. */
  observe(sinceMs: number, isDifferent: boolean): void {
    this.#observedMs += sinceMs
    if (isDifferent) this.#changes++
  }

  /**
   * The time between two refreshes under this TTL: the TTL itself from three minutes on; below, as long as the rate makes
   * worthwhile, and at least the TTL.
   */
  ms(ttlMs: number): number {
    if (ttlMs >= UPSTREAM_REFRESH_MS) return ttlMs
    const weight = changeWeight({ changes: this.#changes, observed: this.#observedMs }, MEAN_PER_MS)
    return Math.max(ttlMs, Math.min(MEAN_INTERVAL_MS / weight, UPSTREAM_REFRESH_MS))
  }
}
