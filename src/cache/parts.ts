import type { Source } from '../source.ts'
import type { Clock } from '../lib/clock.ts'
import type { Observer } from '../events.ts'
import type { FreshnessOptions } from './freshness.ts'
import type { SharedLoaderDeps } from './shared-loader.ts'

export interface CacheOptions extends FreshnessOptions {
  /** Fresh time in ms; 0 keeps nothing at all and still coalesces. */
  readonly ttlMs: number
  /** An old answer is better than waiting longer than this. */
  readonly softTimeoutMs: number
  /** Hard end of a flight, whatever its source does. */
  readonly flightTimeoutMs: number
  readonly maxEntries: number
  readonly maxBytes: number
}

export interface CacheDeps {
  readonly load: Source
  readonly observer: Pick<Observer, 'lookedUp' | 'evicted'>
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  /** The TTL in force, in ms: `ttlMs`, or more while a quota must be made to last. */
  readonly effectiveTtlMs: () => number
  /** Null without a shared tier. */
  readonly shared?: Pick<SharedLoaderDeps, 'store' | 'observer'> | null
}
