import type { Clock } from '../lib/clock.ts'
import type { CacheEntry } from './entry-store.ts'

export interface FreshnessOptions {
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
  readonly #effectiveTtlMs: () => number

  constructor(options: FreshnessOptions, clock: Pick<Clock, 'now'>, effectiveTtlMs: () => number) {
    this.#options = options
    this.#clock = clock
    this.#effectiveTtlMs = effectiveTtlMs
  }

  /** Time since upstream answered. */
  ageMs(entry: CacheEntry): number {
    return Math.max(0, this.#clock.now() - entry.receivedAt)
  }

  /** The TTL in force for this entry. Pacing does not extend the TTL of stations without connectors. */
  ttlMs({ answer, jitter }: CacheEntry): number {
    return (answer.isEmpty ? this.#options.emptyTtlMs : this.#effectiveTtlMs()) * jitter
  }

  /** The age, and the rest of the TTL; negative when stale. */
  of(entry: CacheEntry): { readonly ageMs: number; readonly ttlMs: number } {
    const ageMs = this.ageMs(entry)
    return { ageMs, ttlMs: this.ttlMs(entry) - ageMs }
  }

  /** How long the entry has been stale; 0 or less when fresh. */
  staleForMs(entry: CacheEntry): number {
    return this.ageMs(entry) - this.ttlMs(entry)
  }

  mayServeWhileRevalidating(entry: CacheEntry): boolean {
    return this.staleForMs(entry) <= this.#options.staleWhileRevalidateMs
  }

  /** Whether the entry may replace an error, or an answer that takes too long. */
  mayServeStale(entry: CacheEntry): boolean {
    return this.staleForMs(entry) <= this.#maxStaleMs()
  }

  /** Whether the entry may be served in place of an empty answer. */
  mayReplaceEmpty(entry: CacheEntry): boolean {
    return this.staleForMs(entry) <= this.#options.staleIfErrorMs
  }

  /** The age from which on the entry is expired: past every window. */
  maxAgeMs(entry: CacheEntry): number {
    return this.ttlMs(entry) + this.#maxStaleMs()
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
