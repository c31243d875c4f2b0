import type { Source } from '../availability/model.ts'
import type { Clock } from '../clock.ts'
import type { Observer } from '../observer.ts'
import type { FreshnessOptions } from './freshness.ts'
import type { SharedFlightParts } from './shared-flight.ts'

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

export interface CacheParts {
  readonly load: Source
  readonly observer: Pick<Observer, 'lookedUp' | 'evicted'>
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  /** The TTL in force, in ms: `ttlMs`, or more while a quota must be made to last. */
  readonly effectiveTtlMs: () => number
  /** Null without a shared tier. */
  readonly shared?: Pick<SharedFlightParts, 'tier' | 'observer'> | null
}
