import type { Clock } from '../lib/clock.ts'
import type { CacheEntry } from './entry-store.ts'

export interface FreshnessOptions {
  /** Fresh time of stations without connectors, and how long upstream's 400 and 404 are remembered. */
  readonly emptyTtlMs: number
  /** Beyond the TTL: old at once, one refresh in the background. */
  readonly staleWhileRevalidateMs: number
  /** Beyond the TTL: old rather than an error. */
  readonly staleIfErrorMs: number
}

/** How old an answer is and what it may be used for; all of it in ms, on the monotonic clock. */
export class Freshness {
  readonly #options: FreshnessOptions
  readonly #clock: Pick<Clock, 'now'>
  readonly #effectiveTtlMs: () => number

  constructor(options: FreshnessOptions, clock: Pick<Clock, 'now'>, effectiveTtlMs: () => number) {
    this.#options = options
    this.#clock = clock
    this.#effectiveTtlMs = effectiveTtlMs
  }

  /** Since upstream answered. */
  ageMs(held: CacheEntry): number {
    return Math.max(0, this.#clock.now() - held.receivedAt)
  }

  /** The TTL in force for this entry; what stretches it leaves stations without connectors alone. */
  ttlMs({ answer, jitter }: CacheEntry): number {
    return (answer.isEmpty ? this.#options.emptyTtlMs : this.#effectiveTtlMs()) * jitter
  }

  /** The age, and what is left of the TTL; negative once it is over. */
  of(held: CacheEntry): { readonly ageMs: number; readonly ttlMs: number } {
    const ageMs = this.ageMs(held)
    return { ageMs, ttlMs: this.ttlMs(held) - ageMs }
  }

  /** How long the answer has been past its fresh time; 0 and less is fresh. */
  staleForMs(held: CacheEntry): number {
    return this.ageMs(held) - this.ttlMs(held)
  }

  mayServeWhileRevalidating(held: CacheEntry): boolean {
    return this.staleForMs(held) <= this.#options.staleWhileRevalidateMs
  }

  mayServeStale(held: CacheEntry): boolean {
    return this.staleForMs(held) <= this.#longestStaleMs()
  }

  /** How long after its receipt the answer is of no use to anyone. */
  maxAgeMs(held: CacheEntry): number {
    return this.ttlMs(held) + this.#longestStaleMs()
  }

  #longestStaleMs(): number {
    return Math.max(this.#options.staleIfErrorMs, this.#options.staleWhileRevalidateMs)
  }
}
