/** How long results are handed on within one turn of the event loop. Others then wait for the next turn. */
const TURN_MS = 10

/**
 * Hands on the results of promises that settle together in slices, so that ten thousand requests that wait for one call
 * do not stop the event loop while they are answered.
 */
export class Turns {
  readonly #queue: (() => void)[] = []
  /** Of the current slice; null between slices. */
  #startedAt: number | null = null

  /** The same result, possibly some turns later. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    try {
      return await promise
    } finally {
      await this.#turn()
    }
  }

  #turn(): Promise<void> | undefined {
    if (this.#startedAt === null) {
      this.#startedAt = performance.now()
      setImmediate(this.#nextSlice)
    }
    if (this.#queue.length === 0 && performance.now() - this.#startedAt < TURN_MS) return undefined
    return new Promise((resolve) => void this.#queue.push(resolve))
  }

  /** A slice is of a fixed size: what the woken requests do is known only after this function. */
  readonly #nextSlice = (): void => {
    this.#startedAt = null
    if (this.#queue.length === 0) return
    for (const wake of this.#queue.splice(0, SLICE)) wake()
    this.#startedAt = performance.now()
    setImmediate(this.#nextSlice)
  }
}

/** Requests in a slice after the first; each takes 30 to 60 µs. */
const SLICE = 200
