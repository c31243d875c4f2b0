/** Results that are handed on within one turn of the event loop. What follows each usually takes 30 to 100 µs. */
const MAX_PER_TURN = 200
/** Work that has taken longer goes on in another turn of the event loop: a megabyte takes up to 50 ms. */
export const MAX_TURN_MS = 10

/** Of whom a result is; of all who give none it is the same. */
type Owner = object | null

/**
 * Hands on results that come together in slices, so that ten thousand requests that wait for one call, or a hundred that
 * each render a large answer, do not stop the event loop. The first is handed on at once. A slice has twice the results of
 * the one before while that was short, as the time that a result takes is known only in the turn after it. Owners take turns:
 * a hundred results of one connection do not delay the single one of another.
 */
export class Turns {
  readonly #maxTurnMs: number
  /** Those that go on before all others. */
  readonly #continued: (() => void)[] = []
  /** By owner, the next one first. */
  readonly #queues = new Map<Owner, (() => void)[]>()
  #waiting = 0
  #isBusy = false
  #size = 1
  #startedAt = 0

  /** @param maxTurnMs a longer turn is followed by one with a single result */
  constructor(maxTurnMs = MAX_TURN_MS) {
    this.#maxTurnMs = maxTurnMs
  }

  /** Results that wait for a later turn. */
  get waiting(): number {
    return this.#continued.length + this.#waiting
  }

  /** The same result, possibly some turns later. */
  async wait<T>(promise: Promise<T>, owner: Owner = null): Promise<T> {
    try {
      return await promise
    } finally {
      if (this.#isBusy) await new Promise<void>((resolve) => this.#push(owner, resolve))
      else this.#beginFirst()
    }
  }

  /** Resolves as {@link wait} does. */
  next(): Promise<void> {
    return this.wait(Promise.resolve())
  }

  /**
   * Resolves in a later turn, before the others that wait. For the second half of a result, so that what the first half
   * has made is not kept in memory while other first halves follow.
   */
  continue(): Promise<void> {
    if (!this.#isBusy) this.#beginFirst()
    return new Promise((resolve) => void this.#continued.unshift(resolve))
  }

  #push(owner: Owner, resolve: () => void): void {
    const queue = this.#queues.get(owner)
    if (queue === undefined) this.#queues.set(owner, [resolve])
    else queue.push(resolve)
    this.#waiting++
  }

  #take(count: number): (() => void)[] {
    const taken = this.#continued.splice(0, count)
    for (const [owner, queue] of this.#queues) {
      if (taken.length >= count) break
      taken.push(queue.shift() as () => void)
      this.#waiting--
      this.#queues.delete(owner)
      if (queue.length > 0) this.#queues.set(owner, queue) // visited again, behind the others
    }
    return taken
  }

  /**
   * A result usually comes where Node reads input, and immediate functions run directly after that: it takes two of them
   * until other input is read in between.
   */
  #beginFirst(): void {
    this.#begin(1)
    setImmediate(this.#endFirst)
  }

  readonly #endFirst = (): void => {
    this.#isBusy = this.waiting > 0
    if (this.#isBusy) setImmediate(this.#nextTurn)
  }

  #begin(size: number): void {
    this.#isBusy = true
    this.#size = size
    this.#startedAt = performance.now()
  }

  readonly #nextTurn = (): void => {
    const wasShort = performance.now() - this.#startedAt < this.#maxTurnMs
    const slice = this.#take(wasShort ? Math.min(this.#size * 2, MAX_PER_TURN) : 1)
    this.#isBusy = slice.length > 0
    if (this.#isBusy) {
      this.#begin(slice.length)
      setImmediate(this.#nextTurn)
    }
    for (const wake of slice) wake()
  }
}
