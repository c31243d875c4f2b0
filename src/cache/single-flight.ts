/**
 * One call at a time for a key, shared by everyone who asks meanwhile.
 *
 * A flight belongs to no one who waits for it: whoever leaves detaches at once and changes nothing for the
 * others, and a flight that everybody left goes on to its end. It ends by its own result or at its deadline,
 * whichever is first. It leaves the map before anyone who waits hears of it, so that whoever asks again in
 * reaction to the result starts anew; and it removes only itself.
 */
export interface FlightOptions {
  /** Longest life of a flight, in milliseconds. */
  readonly deadlineMs: number
  /** Runs the callback after so many milliseconds, unless the function returned is called before. */
  readonly after: (ms: number, callback: () => void) => () => void
  /** What those who wait get at the deadline. */
  readonly timeoutError: () => Error
}

export interface Flight<T> {
  readonly result: Promise<T>
  /** How many wait for it now. */
  waiters: number
}

export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>()
  readonly #options: FlightOptions

  constructor(options: FlightOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#flights.size
  }

  /** The flight under way for the key, if there is one. */
  inFlight(key: string): Flight<T> | undefined {
    return this.#flights.get(key)
  }

  /**
   * Starts a flight; the caller has seen that none is under way. `onFailure` hears of its failure while nobody
   * can have started the next; what comes after the deadline is heard by no one.
   */
  start(key: string, call: () => Promise<T>, onFailure: (error: unknown) => void = () => {}): Flight<T> {
    const { deadlineMs, after, timeoutError } = this.#options
    const { promise, resolve, reject } = withResolvers<T>()
    const flight: Flight<T> = { result: promise, waiters: 0 }
    this.#flights.set(key, flight)
    let landed = false
    const land = (tell: () => void) => {
      if (landed) return
      landed = true
      cancelDeadline()
      if (this.#flights.get(key) === flight) this.#flights.delete(key)
      tell()
    }
    const fail = (error: unknown) => {
      land(() => {
        onFailure(error)
        reject(error)
      })
    }
    const cancelDeadline = after(deadlineMs, () => {
      fail(timeoutError())
    })
    promise.catch(() => {}) // a flight that nobody waits for may fail
    void settle(call, (value) => land(() => resolve(value)), fail)
    return flight
  }

  /** The flight's result, or a rejection with the signal's reason as soon as it aborts. */
  wait(flight: Flight<T>, signal?: AbortSignal): Promise<T> {
    flight.waiters++
    const leave = () => {
      flight.waiters--
    }
    const waiting = signal === undefined ? flight.result : detachable(flight.result, signal)
    return waiting.finally(leave)
  }
}

async function settle<T>(
  call: () => Promise<T>,
  succeed: (value: T) => void,
  fail: (error: unknown) => void,
): Promise<void> {
  try {
    succeed(await call())
  } catch (error) {
    fail(error)
  }
}

function detachable<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = withResolvers<T>()
  const leave = () => {
    reject(signal.reason)
  }
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave, { once: true })
  result.then(resolve, reject)
  return promise.finally(() => {
    signal.removeEventListener('abort', leave)
  })
}

interface Resolvers<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

/** Promise.withResolvers, which Node 20 does not have. */
function withResolvers<T>(): Resolvers<T> {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((fulfil, refuse) => {
    resolve = fulfil
    reject = refuse
  })
  return { promise, resolve, reject }
}
