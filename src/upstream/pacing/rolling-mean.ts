const WINDOW_MS = 300_000
const SLOTS = 10
const SLOT_MS = WINDOW_MS / SLOTS

/** The mean of the values recorded in the last five minutes, to half a minute. */
export class RollingMean {
  readonly #sums = new Float64Array(SLOTS)
  readonly #counts = new Float64Array(SLOTS)
  /** Number of the current slot since time 0. */
  #slot = 0

  record(value: number, nowMs: number): void {
    this.#advance(nowMs)
    const i = this.#slot % SLOTS
    this.#sums[i] = (this.#sums[i] as number) + value
    this.#counts[i] = (this.#counts[i] as number) + 1
  }

  /** Null when nothing was recorded. */
  mean(nowMs: number): number | null {
    this.#advance(nowMs)
    const count = this.#counts.reduce(add)
    return count === 0 ? null : this.#sums.reduce(add) / count
  }

  #advance(nowMs: number): void {
    const slot = Math.floor(nowMs / SLOT_MS)
    if (slot <= this.#slot) return
    for (let passed = Math.max(this.#slot, slot - SLOTS) + 1; passed <= slot; passed++) {
      this.#sums[passed % SLOTS] = 0
      this.#counts[passed % SLOTS] = 0
    }
    this.#slot = slot
  }
}

function add(a: number, b: number): number {
  return a + b
}
