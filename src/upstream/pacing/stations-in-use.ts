/** At most this many stations are counted; beyond them the number is extrapolated. */
const MAX_COUNTED = 50_000

/** How many stations had a lookup within a time. */
export class StationsInUse {
  readonly #since: number[] = []
  readonly #isTruncated: boolean

  /** @param sinceLastUse the time since the last lookup of each station, in ms, the most recent first */
  constructor(sinceLastUse: Iterable<number>) {
    for (const since of sinceLastUse) {
      if (this.#since.length === MAX_COUNTED) break
      this.#since.push(since)
    }
    this.#isTruncated = this.#since.length === MAX_COUNTED
  }

  within(ms: number): number {
    const counted = this.#since.length
    const last = this.#since[counted - 1]
    if (this.#isTruncated && last !== undefined && ms > last) return (counted * ms) / Math.max(1, last)
    let [low, high] = [0, counted]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#since[middle] as number) <= ms) low = middle + 1
      else high = middle
    }
    return low
  }
}
