/** Results that are handed on within one turn of the event loop. What follows each takes 30 to 100 µs. */
const MAX_PER_TURN = 200

/**
 * Hands on the results of promises that settle together in slices, so that ten thousand requests that wait for one call
 * do not stop the event loop while they are answered. By number: the time that a slice takes is known only after it.
 */
export class Turns {
  readonly #queue: (() => void)[] = []
  #handedOn = 0

  /** The same result, possibly some turns later. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    try {
      return await promise
    } finally {
      if (++this.#handedOn === 1) setImmediate(this.#nextTurn)
      if (this.#handedOn > MAX_PER_TURN) await new Promise<void>((resolve) => void this.#queue.push(resolve))
    }
  }

  readonly #nextTurn = (): void => {
    const slice = this.#queue.splice(0, MAX_PER_TURN)
    this.#handedOn = slice.length
    for (const wake of slice) wake()
    if (slice.length > 0) setImmediate(this.#nextTurn)
  }
}
