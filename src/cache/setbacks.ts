import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.ts'
import type { ErrorCode, ServiceError } from '../errors.ts'

export interface SetbacksOptions {
  /** How long upstream's refusal of an id (400, 404) is remembered, in ms; 0 forgets at once. */
  readonly refusalMs: number
  readonly clock: Pick<Clock, 'now'>
}

interface Setback {
  readonly error: ServiceError
  /** Until then the id is not asked for again, on the monotonic clock. */
  readonly until: number
  /** Failures in a row. */
  readonly failures: number
}

/** Back-off after a failure for one station: 1 s, doubling to 10 s while it fails. */
export const FIRST_BACK_OFF_MS = 1_000
export const LONGEST_BACK_OFF_MS = 10_000

/** Ids remembered at most; the oldest is forgotten and simply asked for again. */
const MAX_SETBACKS = 10_000

/** Upstream's answer about the id itself: told again as such, never as an old answer. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['InvalidParameter', 'NotFound'])
/** A call went out and failed. Errors that kept a call from being sent have their own end and need no back-off. */
const FAILURES: ReadonlySet<ErrorCode> = new Set(['UpstreamFailed', 'UpstreamTimeout', 'InternalError'])

/** Which ids must not be asked for now, and why. Errors live here and nowhere else: never among the answers. */
export class Setbacks {
  readonly #options: SetbacksOptions
  readonly #setbacks = new LRUCache<string, Setback>({ max: MAX_SETBACKS })

  constructor(options: SetbacksOptions) {
    this.#options = options
  }

  /** The error to tell for this id instead of a call; null when it may be asked for. */
  of(id: string): ServiceError | null {
    const setback = this.#setbacks.get(id)
    return setback !== undefined && this.#options.clock.now() < setback.until ? setback.error : null
  }

  /** How long the id is not asked for from now on; `ms` if another replica has said so. 0 if the error sets none. */
  record(id: string, error: ServiceError, ms?: number): number {
    const present = this.#setbacks.peek(id)
    if (present?.error === error) return 0 // it is known already
    const isFailure = FAILURES.has(error.code)
    if (!isFailure && !REFUSALS.has(error.code)) return 0
    const failures = isFailure ? (present?.failures ?? 0) + 1 : 0
    const forMs = ms ?? (isFailure ? backOffMs(failures) : this.#options.refusalMs)
    this.#setbacks.set(id, { error, until: this.#options.clock.now() + forMs, failures })
    return forMs
  }

  clear(id: string): void {
    this.#setbacks.delete(id)
  }
}

function backOffMs(failures: number): number {
  return Math.min(FIRST_BACK_OFF_MS * 2 ** (failures - 1), LONGEST_BACK_OFF_MS)
}
