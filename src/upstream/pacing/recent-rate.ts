/** The mean is taken over about this time. */
const MEMORY_MS = 1_800_000

/** How many per ms at present: the mean over all that was observed, of later times an exponential one over half an hour. */
export class RecentRate {
  #perMs = 0
  #observedMs = 0

  get perMs(): number {
    return this.#perMs
  }

  /** Time observed in all. */
  get observedMs(): number {
    return this.#observedMs
  }

  /** `elapsedMs` is the time since the last call of this method, above 0. */
  record(count: number, elapsedMs: number): void {
    this.#observedMs += elapsedMs
    const weight = Math.min(1, elapsedMs / Math.min(this.#observedMs, MEMORY_MS))
    this.#perMs += (count / elapsedMs - this.#perMs) * weight
  }
}
