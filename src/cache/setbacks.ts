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

  /** Whether upstream's own refusal of this id is in force. */
  isRefused(id: string): boolean {
    const error = this.of(id)
    return error !== null && REFUSALS.has(error.code)
  }

  record(id: string, error: ServiceError): void {
    const now = this.#options.clock.now()
    if (REFUSALS.has(error.code)) {
      this.#setbacks.set(id, { error, until: now + this.#options.refusalMs, failures: 0 })
    } else if (FAILURES.has(error.code)) {
      const failures = (this.#setbacks.peek(id)?.failures ?? 0) + 1
      this.#setbacks.set(id, { error, until: now + backOffMs(failures), failures })
    }
  }

  clear(id: string): void {
    this.#setbacks.delete(id)
  }
}

function backOffMs(failures: number): number {
  return Math.min(FIRST_BACK_OFF_MS * 2 ** (failures - 1), LONGEST_BACK_OFF_MS)
}
