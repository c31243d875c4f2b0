/**
 * A bound in bytes over everything that waits, whatever it is: bounds by number of each kind multiply. The sizes are
 * estimates of the heap that a waiting thing keeps, measured with 1,000 of them.
 */
export class ByteBudget {
  readonly limit: number
  /** Called when so many bytes are missing: whether it has returned them. */
  makeRoom: (missing: number) => boolean = () => false
  #used = 0

  constructor(limit: number) {
    this.limit = limit
  }

  get used(): number {
    return this.#used
  }

  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= this.limit
  }

  /** The bytes for one thing that waits; null if they are not within the limit. */
  reserve(bytes: number): Reservation | null {
    const reservation = new Reservation((more) => this.#tryTake(more))
    return reservation.tryGrow(bytes) ? reservation : null
  }

  #tryTake(bytes: number): boolean {
    if (bytes > 0 && !this.hasRoom(bytes)) {
      if (bytes > this.limit || !this.makeRoom(this.#used + bytes - this.limit) || !this.hasRoom(bytes))
        return false
    }
    this.#used += bytes
    return true
  }
}

/** What one thing that waits has taken of a budget. */
export class Reservation {
  readonly #tryTake: (bytes: number) => boolean
  #bytes = 0
  #hasEnded = false

  constructor(tryTake: (bytes: number) => boolean) {
    this.#tryTake = tryTake
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Takes that many bytes more if they are within the limit; false if not. After the end nothing is taken. */
  tryGrow(bytes: number): boolean {
    if (this.#hasEnded) return true
    if (!this.#tryTake(bytes)) return false
    if (this.#hasEnded) this.#tryTake(-bytes) // what made room has ended it
    else this.#bytes += bytes
    return true
  }

  /** Returns everything that was taken. */
  end(): void {
    this.#hasEnded = true
    this.#tryTake(-this.#bytes)
    this.#bytes = 0
  }
}

/** The part of the heap that may wait. The rest is for the cache, for what is being answered and for the code. */
const WAITING_SHARE = 0.125

/** The budget for a process with this limit of its heap. */
export function waitingBudget(heapLimitBytes: number): ByteBudget {
  return new ByteBudget(Math.floor(heapLimitBytes * WAITING_SHARE))
}
