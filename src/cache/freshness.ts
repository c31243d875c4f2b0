import type { ServiceError } from '../errors.ts'
import { allowsStaleFallback } from '../errors.ts'
import type { Clock } from '../lib/clock.ts'
import type { CacheEntry } from './entry-store.ts'
import type { EntryAge } from './lookup-result.ts'
import type { StationPacing } from './pacing-port.ts'
import { MIN_SERVED_FOR_STALE } from './pacing-port.ts'

export interface FreshnessOptions {
  /** TTL in ms; under a quota the shortest TTL of a station. */
  readonly ttlMs: number
  /** The longest TTL of a station under a quota, in ms. */
  readonly maxTtlMs: number
  /** TTL of stations without connectors and of negative entries (upstream's 400 and 404), in ms. */
  readonly emptyTtlMs: number
  /** Time past the TTL in which a stale answer is returned at once while one refresh runs, in ms. */
  readonly staleWhileRevalidateMs: number
  /** Time past the TTL in which a stale answer may replace an error, in ms. */
  readonly staleIfErrorMs: number
}

/** The age of an entry and what it may be used for. All times are ms on the monotonic clock. */
export class Freshness {
  readonly #options: FreshnessOptions
  readonly #clock: Pick<Clock, 'now'>
  readonly #deps: { readonly pacing: StationPacing | null }

  /** `deps.pacing` may change at run time, as the options may. */
  constructor(
    options: FreshnessOptions,
    clock: Pick<Clock, 'now'>,
    deps: { readonly pacing: StationPacing | null },
  ) {
    this.#options = options
    this.#clock = clock
    this.#deps = deps
  }

  /** Time since upstream answered. */
  ageMs(entry: CacheEntry, now = this.#clock.now()): number {
    return Math.max(0, now - entry.receivedAt)
  }

  /** The TTL in force for this entry. Pacing does not concern stations without connectors. */
  ttlMs(entry: CacheEntry): number {
    const { ttlMs, emptyTtlMs } = this.#options
    if (entry.answer.isEmpty) return emptyTtlMs * entry.jitter
    const { pacing } = this.#deps
    return (pacing === null ? ttlMs : pacing.ttlMs(entry)) * entry.jitter
  }

  /** The age, and the rest of the TTL; negative when stale. */
  of(entry: CacheEntry, now = this.#clock.now()): EntryAge {
    const ageMs = this.ageMs(entry, now)
    return { ageMs, ttlMs: this.ttlMs(entry) - ageMs }
  }

  /** How long the entry has been stale; 0 or less when fresh. */
  staleForMs(entry: CacheEntry): number {
    return this.ageMs(entry) - this.ttlMs(entry)
  }

  mayServeWhileRevalidating(entry: CacheEntry): boolean {
    if (this.#deps.pacing !== null && entry.served < MIN_SERVED_FOR_STALE) return false
    return this.staleForMs(entry) <= this.#options.staleWhileRevalidateMs
  }

  /** Whether the entry may replace an error, or an answer that takes too long. */
  mayServeStale(entry: CacheEntry): boolean {
    return this.staleForMs(entry) <= this.#maxStaleMs()
  }

  /**
   * Whether the entry may replace this error. For a call that the quota does not allow, the bound is not the TTL in force:
   * that of a station with many requests is short, and it would be the first to end in errors.
   */
  mayReplace(error: ServiceError, entry: CacheEntry): boolean {
    if (this.mayServeStale(entry)) return true
    const { maxTtlMs, staleIfErrorMs } = this.#options
    const isForQuota = error.code === 'QuotaExhausted' && this.#deps.pacing !== null
    return isForQuota && this.ageMs(entry) <= maxTtlMs + staleIfErrorMs
  }

  /** Whether a lookup could return the entry without an answer of upstream, after this error if there was one. */
  mayBeServed(entry: CacheEntry, error: ServiceError | null): boolean {
    if (error === null) return this.mayServeStale(entry)
    return allowsStaleFallback(error) && this.mayReplace(error, entry)
  }

  /** Whether the entry may be served in place of an empty answer. */
  mayReplaceEmpty(entry: CacheEntry): boolean {
    return this.staleForMs(entry) <= this.#options.staleIfErrorMs
  }

  /** The age from which on the entry is expired: past every window. */
  maxAgeMs(entry: CacheEntry): number {
    const isPaced = this.#deps.pacing !== null && !entry.answer.isEmpty
    return Math.max(this.ttlMs(entry), isPaced ? this.#options.maxTtlMs : 0) + this.#maxStaleMs()
  }

  #maxStaleMs(): number {
    return Math.max(this.#options.staleIfErrorMs, this.#options.staleWhileRevalidateMs)
  }
}

/** Maximum part of the TTL that the jitter takes: `CACHE_TTL` stays recognisable in what clients observe. */
const MAX_SHORTENING = 0.1
/**
 * Mean part of the TTL that the jitter takes, and what it costs: 1.5 % more calls for a station in constant demand. An
 * even spread over MAX_SHORTENING would cost 5 %.
 */
const MEAN_SHORTENING = 0.015

/**
 * The jitter of an entry: the part of the TTL for which it is fresh (0.9 to 1), so that entries stored together do not
 * expire together. Exponential: of all distributions with this mean it has the greatest entropy.
 * @param random from 0 up to, not including, 1
 */
export function ttlFactor(random: number): number {
  return 1 - Math.min(MAX_SHORTENING, -MEAN_SHORTENING * Math.log(1 - random))
}
