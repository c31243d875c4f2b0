/**
 * A bound in bytes over everything that waits, whatever it is: bounds by number of each kind multiply. The sizes are
 * estimates of the heap that a waiting thing keeps, measured with 1,000 of them.
 */
export class ByteBudget {
  readonly #limit: number
  #used = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get used(): number {
    return this.#used
  }

  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= this.#limit
  }

  /** Takes the bytes if they are within the limit; false if not. */
  tryTake(bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false
    this.#used += bytes
    return true
  }

  /** Returns bytes that were taken. */
  release(bytes: number): void {
    this.#used -= bytes
  }
}

/** The part of the heap that may wait. The rest is for the cache, for what is being answered and for the code. */
const WAITING_SHARE = 0.125

/** The budget for a process with this limit of its heap. */
export function waitingBudget(heapLimitBytes: number): ByteBudget {
  return new ByteBudget(heapLimitBytes * WAITING_SHARE)
}
