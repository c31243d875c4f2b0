import type { LoadOptions, Source } from '../source.ts'
import { allowsStaleFallback, asServiceError, ServiceError } from '../errors.ts'
import type { CacheResult, Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import { Answer } from './answer.ts'
import type { CacheEntry } from './entry-store.ts'
import { EntryStore, floorMs } from './entry-store.ts'
import type { FreshnessOptions } from './freshness.ts'
import { Freshness, ttlFactor } from './freshness.ts'
import { NegativeCache } from './negative-cache.ts'
import type { SharedLoaderDeps } from './shared-loader.ts'
import { SharedLoader } from './shared-loader.ts'
import type { InFlightCall } from './single-flight.ts'
import { SingleFlight } from './single-flight.ts'

export interface CacheOptions extends FreshnessOptions {
  /** Time in ms for which an answer is fresh; 0 stores nothing but still coalesces. */
  readonly ttlMs: number
  /** A waiter with a usable stale entry gets that entry after so many ms. */
  readonly softTimeoutMs: number
  /** Deadline of an in-flight call in ms, whatever its source does. */
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
  /** The TTL in force, in ms: `ttlMs`, or more while pacing extends it. */
  readonly effectiveTtlMs: () => number
  /** Null without a shared cache. */
  readonly shared?: Pick<SharedLoaderDeps, 'store' | 'observer'> | null
}

/** The answer that a lookup returned, and where it came from. */
export interface LookupResult {
  readonly answer: Answer
  readonly result: Exclude<CacheResult, 'error'>
  /** Milliseconds since upstream answered. */
  readonly ageMs: number
  /** Milliseconds left of the TTL; negative for a stale answer. */
  readonly ttlMs: number
  /** There was an entry, but the lookup needed a call because it was too stale. */
  readonly wasExpired: boolean
  /** Whether the cache stores the answer. */
  readonly isStored: boolean
  /** The error that the stale answer replaces, else null. */
  readonly staleReason: ServiceError | null
}

type FoundDetails = Partial<Pick<LookupResult, 'wasExpired' | 'staleReason'>>
/** Called when a lookup has to wait; the signal detaches this waiter alone. */
type OnWait = () => AbortSignal

/** Maximum waiters per station: far above any real load, so that only a flood for one cold station is limited. */
export const MAX_WAITERS = 10_000
const TOO_MANY_WAITERS = new ServiceError('UpstreamUnavailable', {
  reason: 'too many callers wait for this station',
  retryAfterMs: 1_000,
})

/**
 * One entry per station and at most one call per station in flight. A lookup's path: `get` (fresh) → `#lookupStale`
 * (negative, or stale with a refresh) → `#wait` (joins or starts a call) → `#staleOr` (the error, or a stale answer).
 */
export class Cache {
  readonly #options: CacheOptions
  readonly #deps: CacheDeps
  readonly store: EntryStore
  readonly #calls: SingleFlight<CacheEntry>
  readonly #negative: NegativeCache
  readonly #freshness: Freshness
  readonly #shared: SharedLoader | null
  #lookups = 0

  constructor(options: CacheOptions, deps: CacheDeps) {
    this.#options = options
    this.#deps = deps
    this.store = new EntryStore({ ...options, onEviction: () => deps.observer.evicted() })
    this.#calls = new SingleFlight({
      deadlineMs: options.flightTimeoutMs,
      after: (ms, callback) => deps.clock.after(ms, callback),
      timeoutError: () => new ServiceError('UpstreamTimeout', { reason: 'the call reached its deadline' }),
    })
    const negativeTtlMs = options.ttlMs === 0 ? 0 : options.emptyTtlMs
    this.#negative = new NegativeCache({ negativeTtlMs, clock: deps.clock })
    this.#freshness = new Freshness(options, deps.clock, deps.effectiveTtlMs)
    this.#shared = this.#createSharedLoader()
  }

  get entries(): number {
    return this.store.entries
  }

  /** Bytes of all entries, renderings included. */
  get bytes(): number {
    return this.store.bytes
  }

  get inFlightCalls(): number {
    return this.#calls.size
  }

  /** Settles with the station's in-flight call; undefined if there is none. */
  inFlight(id: string): Promise<unknown> | undefined {
    return this.#calls.inFlight(id)?.result
  }

  get lookups(): number {
    return this.#lookups
  }

  /** Milliseconds since the last lookup of each station with connectors, the most recent first. */
  *sinceLastUse(): Iterable<number> {
    const now = this.#deps.clock.now()
    for (const { lastUsedAt } of this.store.recent()) yield now - lastUsedAt
  }

  /** The entry of a station, whatever its age. Makes no call, counts no lookup and leaves the order of eviction. */
  peek(id: string): Pick<LookupResult, 'answer' | 'ageMs' | 'ttlMs'> | null {
    const entry = this.store.peek(id)
    return entry && { answer: entry.answer, ...this.#freshness.of(entry) }
  }

  /**
   * Looks up a station. Without a wait it returns a value and may throw: a promise would add a third to the 0.16 µs of a
   * hit, and make the route's handler asynchronous.
   * @param onWait called only if the lookup has to wait, before it joins or starts a call; an error that it throws is
   *   handled like an error of the call
   * @throws ServiceError, or rejects with it
   */
  get(id: string, onWait?: OnWait): LookupResult | Promise<LookupResult> {
    this.#lookups++
    const entry = this.store.get(id)
    if (entry !== null) entry.lastUsedAt = floorMs(this.#deps.clock.now())
    if (entry !== null && this.#freshness.staleForMs(entry) <= 0) return this.#found('hit', entry)
    return this.#lookupStale(id, entry, onWait)
  }

  #lookupStale(id: string, entry: CacheEntry | null, onWait?: OnWait): LookupResult | Promise<LookupResult> {
    const error = this.#negative.get(id)
    if (error !== null) return this.#staleOr(error, entry)
    if (entry !== null && this.#freshness.mayServeWhileRevalidating(entry)) {
      if (this.#calls.inFlight(id) === undefined) this.#startCall(id, entry, true)
      return this.#found('stale', entry)
    }
    return this.#wait(id, entry, onWait)
  }

  async #wait(id: string, entry: CacheEntry | null, onWait?: OnWait): Promise<LookupResult> {
    const joined = this.#calls.inFlight(id)
    let signal: AbortSignal | undefined
    let loaded: CacheEntry | null
    try {
      signal = onWait?.()
      const call = joined ?? this.#startCall(id, entry, false)
      if (call.waiters >= MAX_WAITERS) throw TOO_MANY_WAITERS
      loaded = await this.#fetchOrSoftTimeout(call, entry, signal)
    } catch (error) {
      if (signal?.aborted !== true) return this.#staleOr(asServiceError(error), entry)
      this.#deps.observer.lookedUp(joined === undefined ? 'miss' : 'coalesced', null)
      throw error
    }
    if (loaded === null) return this.#found('stale', entry as CacheEntry)
    // A peer's answer may be stale already: treated as if it had been in this cache before the lookup.
    if (loaded.fromPeer && this.#freshness.staleForMs(loaded) > 0) {
      const sameSignal = signal
      return this.#lookupStale(id, loaded, sameSignal && (() => sameSignal))
    }
    const result = joined !== undefined ? 'coalesced' : loaded.fromPeer ? 'hit' : 'miss'
    return this.#found(result, loaded, { wasExpired: entry !== null })
  }

  /** The loaded entry; null once the soft timeout is over and `entry` may be served stale. */
  #fetchOrSoftTimeout(
    call: InFlightCall<CacheEntry>,
    entry: CacheEntry | null,
    signal: AbortSignal | undefined,
  ): Promise<CacheEntry | null> {
    const loaded = this.#calls.wait(call, signal)
    if (entry === null || !this.#freshness.mayServeStale(entry)) return loaded
    return new Promise((resolve, reject) => {
      const stopWaiting = this.#deps.clock.after(this.#options.softTimeoutMs, () => {
        if (this.#freshness.mayServeStale(entry)) resolve(null)
      })
      loaded.finally(stopWaiting).then(resolve, reject)
    })
  }

  #startCall(id: string, entry: CacheEntry | null, lowPriority: boolean): InFlightCall<CacheEntry> {
    const load = (version: string) => this.#load(id, { lowPriority, hasStale: entry !== null }, version)
    const fetch = async () =>
      this.#keep(await (this.#shared?.load({ id, entry, lowPriority, load }) ?? load('')))
    const call = this.#calls.start(id, fetch, (error) => {
      this.#negative.record(id, asServiceError(error))
    })
    // Not in `fetch`: a call that outlived its deadline must not end the back-off of a later call.
    call.result.then(() => this.#negative.clear(id)).catch(() => {})
    return call
  }

  async #load(id: string, options: LoadOptions, version: string): Promise<CacheEntry> {
    const { load, clock, random } = this.#deps
    const startedAt = floorMs(clock.now())
    const answer = new Answer(await load(id, options))
    const receivedAt = floorMs(clock.now())
    const jitter = ttlFactor(random())
    return { answer, receivedAt, startedAt, jitter, version, fromPeer: false, lastUsedAt: receivedAt }
  }

  /** Stores a loaded entry: the only way into the store. */
  #keep(entry: CacheEntry): CacheEntry {
    // A negative entry in force is from a later call: this call outlived its deadline.
    if (this.#options.ttlMs > 0 && !this.#negative.hasNegative(entry.answer.id)) this.store.put(entry)
    return entry
  }

  /** The stale entry, if there is one that may replace the error; else throws the error. */
  #staleOr(error: ServiceError, entry: CacheEntry | null): LookupResult {
    if (entry !== null && allowsStaleFallback(error) && this.#freshness.mayServeStale(entry)) {
      return this.#found('stale_error', entry, { staleReason: error })
    }
    this.#deps.observer.lookedUp('error', null)
    throw error
  }

  #found(
    result: LookupResult['result'],
    entry: CacheEntry,
    { wasExpired = false, staleReason = null }: FoundDetails = {},
  ): LookupResult {
    const { ageMs, ttlMs } = this.#freshness.of(entry)
    this.#deps.observer.lookedUp(result, ageMs / 1000)
    const isStored = this.#options.ttlMs > 0
    return { answer: entry.answer, result, ageMs, ttlMs, wasExpired, isStored, staleReason }
  }

  /** Null with a TTL of 0: nothing may be stored, so replicas have nothing to share. */
  #createSharedLoader(): SharedLoader | null {
    const { shared, clock, random } = this.#deps
    if (!shared || this.#options.ttlMs === 0) return null
    const own = { freshness: this.#freshness, negativeCache: this.#negative }
    return new SharedLoader({ ...shared, ...own, clock, random, deadlineMs: this.#options.flightTimeoutMs })
  }
}
