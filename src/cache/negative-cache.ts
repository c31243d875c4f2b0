import { LRUCache } from 'lru-cache'
import type { ErrorCode } from '../errors.ts'
import { CACHE_RULES, ServiceError } from '../errors.ts'
import { backoffMs } from '../lib/backoff.ts'
import type { Clock } from '../lib/clock.ts'
import { copyString } from '../lib/copy-string.ts'

export interface NegativeCacheOptions {
  /** TTL of upstream's 400 and 404 in ms; 0 caches none. */
  readonly negativeTtlMs: number
  readonly clock: Pick<Clock, 'now'>
}

interface CachedError {
  readonly error: ServiceError
  /** Until then no call is made for the id; on the monotonic clock. */
  readonly until: number
  /** Failed calls in a row; 0 for a negative entry. */
  readonly failures: number
}

/**
 * Back-off after a failed call for one station: 1 s, doubling to 10 s while calls fail. Short at first, because most
 * failures are single; the maximum bounds how long a station stays stale after upstream has recovered.
 */
export const INITIAL_BACK_OFF_MS = 1_000
export const MAX_BACK_OFF_MS = 10_000

/** Bounds the memory that made-up ids take to about 5 MB. An evicted id costs one more call. */
const MAX_IDS = 10_000

/** The call of another replica failed; the back-off or the negative entry lasts for what is left of it. */
export class PeerError extends ServiceError {
  readonly forMs: number

  constructor(code: ErrorCode, forMs: number) {
    super(code, { reason: 'the call of another replica has failed' })
    this.forMs = forMs
    Object.freeze(this)
  }
}

/**
 * The ids for which no call is made at present, with the error that a lookup gets instead: negative entries and
 * back-offs. Errors are stored here and never in the EntryStore, so no error can be served as a stale answer.
 */
export class NegativeCache {
  readonly #options: NegativeCacheOptions
  readonly #errors = new LRUCache<string, CachedError>({ max: MAX_IDS })

  constructor(options: NegativeCacheOptions) {
    this.#options = options
  }

  /** The error in force for this id; null if a call may be made. */
  get(id: string): ServiceError | null {
    const cached = this.#errors.get(id)
    return cached !== undefined && this.#options.clock.now() < cached.until ? cached.error : null
  }

  /** Whether a negative entry of this id is in force. */
  hasNegative(id: string): boolean {
    const error = this.get(id)
    return error !== null && CACHE_RULES[error.code].station === 'negative'
  }

  /** How long no call is made for the id after this error, in ms; 0 if the next call may follow at once. */
  ttlMsFor(id: string, error: ServiceError): number {
    if (error instanceof PeerError) return error.forMs
    switch (CACHE_RULES[error.code].station) {
      case 'negative':
        return this.#options.negativeTtlMs
      case 'back-off':
        return backoffMs(INITIAL_BACK_OFF_MS, MAX_BACK_OFF_MS, this.#failures(id) + 1)
      case 'none':
        return 0
    }
  }

  record(id: string, error: ServiceError): void {
    const { station } = CACHE_RULES[error.code]
    if (station === 'none') return
    const until = this.#options.clock.now() + this.ttlMsFor(id, error)
    const failures = station === 'back-off' ? this.#failures(id) + 1 : 0
    this.#errors.set(copyString(id), { error: withoutCause(error), until, failures })
  }

  clear(id: string): void {
    this.#errors.delete(id)
  }

  clearAll(): void {
    this.#errors.clear()
  }

  #failures(id: string): number {
    return this.#errors.peek(id)?.failures ?? 0
  }
}

/** What clients get of the error. Its cause may hold a connection's buffers, and was logged with the call itself. */
function withoutCause(error: ServiceError): ServiceError {
  if (error.cause === undefined) return error
  const { code, message, detail, retryAfterMs, reason } = error
  return new ServiceError(code, {
    message,
    detail,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(reason !== undefined && { reason: copyString(reason) }),
  })
}
