import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import type { ErrorCode } from '../errors.ts'
import { CACHE_RULES, ServiceError } from '../errors.ts'
import { backoffMs } from '../lib/backoff.ts'
import { copyString } from '../lib/copy-string.ts'

export interface NegativeCacheOptions {
  /** How long upstream's refusal of an id (400, 404) is remembered, in ms; 0 forgets at once. */
  readonly negativeTtlMs: number
  readonly clock: Pick<Clock, 'now'>
}

interface CachedError {
  readonly error: ServiceError
  /** Until then the id is not asked for again, on the monotonic clock. */
  readonly until: number
  /** Failures in a row. */
  readonly failures: number
}

/** Back-off after a failure for one station: 1 s, doubling to 10 s while it fails. */
export const INITIAL_BACK_OFF_MS = 1_000
export const MAX_BACK_OFF_MS = 10_000

/** Ids remembered at most; the oldest is forgotten and simply asked for again. */
const MAX_SETBACKS = 10_000

/** What the call of another replica has ended in: it sets the id back for what is left of that. */
export class PeerError extends ServiceError {
  readonly forMs: number

  constructor(code: ErrorCode, forMs: number) {
    super(code, { reason: 'the call of another replica has failed' })
    this.forMs = forMs
    Object.freeze(this)
  }
}

/** Which ids must not be asked for now, and why. Errors live here and nowhere else: never among the answers. */
export class NegativeCache {
  readonly #options: NegativeCacheOptions
  readonly #setbacks = new LRUCache<string, CachedError>({ max: MAX_SETBACKS })

  constructor(options: NegativeCacheOptions) {
    this.#options = options
  }

  /** The error to tell for this id instead of a call; null when it may be asked for. */
  get(id: string): ServiceError | null {
    const setback = this.#setbacks.get(id)
    return setback !== undefined && this.#options.clock.now() < setback.until ? setback.error : null
  }

  /** Whether upstream's own refusal of this id is in force. */
  hasNegative(id: string): boolean {
    const error = this.get(id)
    return error !== null && CACHE_RULES[error.code].station === 'negative'
  }

  /** How long the id is not asked for after such an error, in ms; 0 if it sets nothing back. */
  ttlMsFor(id: string, error: ServiceError): number {
    if (error instanceof PeerError) return error.forMs
    const { station } = CACHE_RULES[error.code]
    if (station === 'negative') return this.#options.negativeTtlMs
    return station === 'none' ? 0 : backoffMs(INITIAL_BACK_OFF_MS, MAX_BACK_OFF_MS, this.#failures(id) + 1)
  }

  record(id: string, error: ServiceError): void {
    const { station } = CACHE_RULES[error.code]
    if (station === 'none') return
    const until = this.#options.clock.now() + this.ttlMsFor(id, error)
    this.#setbacks.set(copyString(id), {
      error,
      until,
      failures: station === 'back-off' ? this.#failures(id) + 1 : 0,
    })
  }

  clear(id: string): void {
    this.#setbacks.delete(id)
  }

  #failures(id: string): number {
    return this.#setbacks.peek(id)?.failures ?? 0
  }
}
