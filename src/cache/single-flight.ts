import type { ByteBudget, Reservation } from '../lib/byte-budget.ts'

/**
 * At most one call per key in flight, shared by all callers of that key.
 *
 * - No waiter owns the call. A waiter whose signal aborts stops waiting at once; the call and the other waiters are
 *   not affected, and a call without waiters runs to its end.
 * - A call ends with its own result or at its deadline, whichever is first.
 * - It leaves the map before any waiter is notified, so a waiter that asks again in reaction starts a new call.
 * - It removes only itself: the late end of a call past its deadline does not touch the next call for the key.
 */
export interface SingleFlightOptions {
  /** Maximum duration of a call, in ms. */
  readonly deadlineMs: number
  /** Runs the callback after so many ms, unless the returned function is called before. */
  readonly after: (ms: number, callback: () => void) => () => void
  /** Creates the error that waiters get at the deadline. */
  readonly timeoutError: () => Error
  /** Calls and waiters take from it; no bound if absent. */
  readonly waiting?: ByteBudget | undefined
  /** Creates the error for a call or a waiter that the budget has no room for. */
  readonly overloadError?: () => Error
}

/** Heap of a call in flight with its connection, timers and copies, and of a waiter with its request (measured). */
export const CALL_BYTES = 15_000
export const WAITER_BYTES = 8_000

export interface InFlightCall<T> {
  readonly result: Promise<T>
  /** Number of waiters at present. */
  waiters: number
}

export class SingleFlight<T> {
  readonly #calls = new Map<string, InFlightCall<T>>()
  readonly #options: SingleFlightOptions

  constructor(options: SingleFlightOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#calls.size
  }

  /** Whether the budget has room for another call. */
  get hasRoom(): boolean {
    return this.#options.waiting?.hasRoom(CALL_BYTES) ?? true
  }

  /** The key's in-flight call, if there is one. */
  inFlight(key: string): InFlightCall<T> | undefined {
    return this.#calls.get(key)
  }

  /**
   * Starts a call. The caller has checked that none is in flight for the key. `onFailure` runs before the next call for
   * the key can start; it is not run for an error after the deadline.
   * @throws the overload error; so does `wait`
   */
  start(key: string, run: () => Promise<T>, onFailure: (error: unknown) => void = () => {}): InFlightCall<T> {
    const { deadlineMs, after, timeoutError } = this.#options
    const reservation = this.#reserve(CALL_BYTES)
    const { promise, resolve, reject } = withResolvers<T>()
    const call: InFlightCall<T> = { result: promise, waiters: 0 }
    this.#calls.set(key, call)
    let hasEnded = false
    const end = (settle: () => void) => {
      if (hasEnded) return
      hasEnded = true
      cancelDeadline()
      reservation?.end()
      if (this.#calls.get(key) === call) this.#calls.delete(key)
      settle()
    }
    const fail = (error: unknown) => {
      end(() => {
        onFailure(error)
        reject(error)
      })
    }
    const cancelDeadline = after(deadlineMs, () => {
      fail(timeoutError())
    })
    promise.catch(() => {}) // a call without waiters may fail
    void settle(run, (value) => end(() => resolve(value)), fail)
    return call
  }

  /** The next caller starts a new call; the present one goes on for its waiters. */
  forget(key: string): void {
    this.#calls.delete(key)
  }

  /** The result of the call; rejects with the signal's reason as soon as the signal aborts. */
  wait(call: InFlightCall<T>, signal?: AbortSignal): Promise<T> {
    const reservation = this.#reserve(WAITER_BYTES)
    call.waiters++
    const leave = () => {
      call.waiters--
      reservation?.end()
    }
    const result = signal === undefined ? call.result : detachable(call.result, signal)
    return result.finally(leave)
  }

  /** Undefined without a budget. */
  #reserve(bytes: number): Reservation | undefined {
    const { waiting, overloadError } = this.#options
    const reservation = waiting?.reserve(bytes)
    if (reservation === null) throw overloadError?.()
    return reservation
  }
}

/** Also for a `run` that throws synchronously. */
async function settle<T>(
  run: () => Promise<T>,
  succeed: (value: T) => void,
  fail: (error: unknown) => void,
): Promise<void> {
  try {
    succeed(await run())
  } catch (error) {
    fail(error)
  }
}

function detachable<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = withResolvers<T>()
  const detach = () => {
    reject(signal.reason)
  }
  if (signal.aborted) detach()
  signal.addEventListener('abort', detach, { once: true })
  result.then(resolve, reject)
  return promise.finally(() => {
    signal.removeEventListener('abort', detach)
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
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}
