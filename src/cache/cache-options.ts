import type { PowerFilter } from '../availability/filter.ts'
import type { Observer } from '../events.ts'
import type { ByteBudget } from '../lib/byte-budget.ts'
import type { Clock } from '../lib/clock.ts'
import type { Source } from '../source.ts'
import type { FreshnessOptions } from './freshness.ts'
import type { SharedLoaderDeps } from './shared-loader.ts'
import type { StationPacing } from './pacing-port.ts'

export interface CacheOptions extends FreshnessOptions {
  /** A waiter with a usable stale entry gets that entry after so many ms. */
  readonly softTimeoutMs: number
  /** Deadline of an in-flight call in ms, whatever its source does. */
  readonly flightTimeoutMs: number
  readonly maxEntries: number
  readonly maxBytes: number
  /** How a power bound filters; `recount` if absent. */
  readonly powerFilter?: PowerFilter
}

export interface CacheDeps {
  readonly load: Source
  readonly observer: Pick<Observer, 'lookedUp' | 'evicted' | 'emptyDoubted' | 'answerStored'>
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  /** A TTL for each station; null without a quota, where all have `ttlMs` (0 stores nothing but still coalesces). */
  readonly pacing: StationPacing | null
  /** Bounds calls in flight and waiters together; no bound if absent. */
  readonly waiting?: ByteBudget
  /** Null without a shared cache. */
  readonly shared?: Pick<SharedLoaderDeps, 'store' | 'observer' | 'isAffordable' | 'turns'> | null
}
