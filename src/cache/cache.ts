import type { FoundDetails, FreshEntry, LookupResult, PeekedEntry } from './lookup-result.ts'
import {
  allowsStaleFallback,
  asServiceError,
  ClientQuotaError,
  ServiceError,
  TOO_MUCH_WAITS,
} from '../errors.ts'
import { copyString } from '../lib/copy-string.ts'
import { again, type Caller, type OnWait } from './caller.ts'
import type { CacheDeps, CacheOptions } from './cache-options.ts'
import { EmptyDoubt } from './empty-doubt.ts'
import { EntryKeeper } from './entry-keeper.ts'
import type { CacheEntry } from './entry-store.ts'
import { EntryStore, floorMs } from './entry-store.ts'
import { Freshness } from './freshness.ts'
import { NegativeCache } from './negative-cache.ts'
import { Purge } from './purge.ts'
import { SharedLoader } from './shared-loader.ts'
import { SingleFlight } from './single-flight.ts'
import { orSoftTimeout } from './soft-timeout.ts'
import { recordLookup } from './pacing-port.ts'

export type { CacheDeps, CacheOptions } from './cache-options.ts'
export type { LookupResult } from './lookup-result.ts'

/**
 * One entry per station and at most one call per station in flight. A lookup's path: `get` (fresh) → `#lookupStale`
 * (negative, or stale with a refresh) → `#wait` (joins or starts a call) → `#staleOr` (the error, or a stale answer).
 */
export class Cache {
  readonly purge: Purge
  readonly #options: CacheOptions
  readonly #deps: CacheDeps
  readonly store: EntryStore
  readonly #calls: SingleFlight<CacheEntry>
  readonly #negative: NegativeCache
  readonly #freshness: Freshness
  readonly #doubt: EmptyDoubt
  readonly #keeper: EntryKeeper
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
      waiting: deps.waiting,
      overloadError: () => TOO_MUCH_WAITS,
    })
    this.#negative = new NegativeCache({
      get negativeTtlMs() {
        return options.ttlMs === 0 ? 0 : options.emptyTtlMs
      },
      clock: deps.clock,
    })
    this.#freshness = new Freshness(options, deps.clock, deps)
    this.#doubt = new EmptyDoubt({ ...deps, freshness: this.#freshness, askAgainMs: () => options.ttlMs })
    const stores = { store: this.store, negative: this.#negative, doubt: this.#doubt }
    this.#keeper = new EntryKeeper(options, deps, stores)
    this.#shared = this.#createSharedLoader()
    this.purge = new Purge({ ...stores, calls: this.#calls, shared: deps.shared?.store })
  }

  get inFlightCalls(): number {
    return this.#calls.size
  }

  /** Settles with the station's in-flight call; undefined if there is none. */
  inFlight(id: string): Promise<unknown> | undefined {
    return this.#calls.inFlight(id)?.result
  }

  /** Lookups so far, those for watchers included. */
  get lookups(): number {
    return this.#lookups
  }

  /**
   * A peer has published an answer: it is taken over if the station is watched, or under a quota, if it is cached: there
   * the present answer may be fresh for hours, and no replica is to serve an older one than another has. Makes no call.
   */
  published(id: string, version: string, isWatched: boolean): void {
    const entry = this.store.peek(id)
    const isWanted = isWatched || (entry !== null && this.#deps.pacing !== null)
    if (!isWanted || entry?.version === version) return
    const run = { id, isPurged: false }
    void this.purge.track(run, async () => this.#shared?.fetch(id, entry, () => run.isPurged))
  }

  /**
   * The entry of a station, whatever its age. Makes no call, counts no lookup and leaves the order of eviction.
   * @param failure the error of the last call, as far as the caller knows
   */
  peek(id: string, failure: ServiceError | null = null): PeekedEntry | null {
    const entry = this.store.peek(id)
    if (entry === null) return null
    const mayBeServed = this.#freshness.mayBeServed(entry, this.#negative.get(id) ?? failure)
    return { answer: entry.answer, changedAt: entry.changedAt, ...this.#freshness.of(entry), mayBeServed }
  }

  /**
   * Loads a station for watchers with low priority, or waits for its call. A use of the entry, but no lookup in metrics.
   * @throws ServiceError
   */
  async refresh(id: string): Promise<void> {
    this.#lookups++
    const entry = this.#use(id)
    const error = this.#negative.get(id)
    if (error !== null) throw error
    await (this.#calls.inFlight(id) ?? this.#startCall(id, entry, true, '')).result
  }

  /**
   * Looks up a station; a call is charged to the client. Without a wait it returns a value and may throw: a promise would
   * add a third to the 0.16 µs of a hit. `onWait` is called before it joins or starts a call, and its errors are those of
   * the call.
   * @throws ServiceError, or rejects with it
   */
  get(id: string, onWait?: OnWait, client = ''): LookupResult | Promise<LookupResult> {
    const now = this.#deps.clock.now()
    const entry = this.#use(id, now)
    const fresh = this.#ifFresh(entry, now)
    if (fresh !== null) return this.hit(fresh)
    this.#lookups++
    return this.#lookupStale(id, entry, { client, onWait })
  }

  /**
   * The station's entry if a lookup would be a `hit`, else null. A use in the order of eviction, but no lookup.
   * @param now by the cache's own clock, which takes 50 ns to read
   */
  fresh(id: string, now: number): FreshEntry | null {
    return this.#ifFresh(this.store.get(id), now)
  }

  #ifFresh(entry: CacheEntry | null, now: number): FreshEntry | null {
    if (entry === null || entry.doubt !== null) return null
    const age = this.#freshness.of(entry, now)
    return age.ttlMs < 0 ? null : { entry, age }
  }

  /** The lookup of an entry that `fresh` has just returned: before it is rendered, which may store a copy of it. */
  hit({ entry, age }: FreshEntry): LookupResult {
    this.#lookups++
    entry.lastUsedAt = floorMs(entry.receivedAt + age.ageMs) // now, without another reading of the clock
    return this.#found('hit', entry, { age })
  }

  #use(id: string, now = this.#deps.clock.now()): CacheEntry | null {
    const entry = this.store.get(id)
    if (entry !== null) entry.lastUsedAt = floorMs(now)
    return entry
  }

  #lookupStale(id: string, entry: CacheEntry | null, caller: Caller): LookupResult | Promise<LookupResult> {
    if (entry !== null && this.#doubt.isInForce(entry)) return this.#found('stale', entry)
    const error = this.#negative.get(id)
    if (error !== null) return this.#staleOr(error, entry)
    if (entry !== null && this.#freshness.mayServeWhileRevalidating(entry)) {
      if (this.#calls.inFlight(id) === undefined && this.#calls.hasRoom)
        this.#startCall(id, entry, true, caller.client)
      return this.#found('stale', entry)
    }
    return this.#wait(id, entry, caller)
  }

  async #wait(id: string, entry: CacheEntry | null, caller: Caller): Promise<LookupResult> {
    const joined = this.#calls.inFlight(id)
    let signal: AbortSignal | undefined
    let loaded: CacheEntry | null
    try {
      signal = caller.onWait?.()
      const call = joined ?? this.#startCall(id, entry, false, caller.client)
      const mayServe = () => entry !== null && this.#freshness.mayServeStale(entry)
      const timeout = { clock: this.#deps.clock, ms: this.#options.softTimeoutMs, mayServe }
      loaded = await orSoftTimeout(this.#calls.wait(call, signal), timeout)
    } catch (error) {
      if (signal?.aborted !== true || error instanceof ServiceError) {
        if (joined && error instanceof ClientQuotaError) return this.#wait(id, entry, again(caller, signal))
        return this.#staleOr(asServiceError(error), entry)
      }
      this.#deps.observer.lookedUp(joined === undefined ? 'miss' : 'coalesced', null)
      throw error
    }
    if (loaded === null) return this.#found('stale', entry as CacheEntry)
    // Not what upstream answered just now: treated as if it had been in this cache before the lookup.
    if (loaded.doubt !== null || (loaded.fromPeer && this.#freshness.staleForMs(loaded) > 0)) {
      return this.#lookupStale(id, loaded, again(caller, signal))
    }
    const result = joined !== undefined ? 'coalesced' : loaded.fromPeer ? 'hit' : 'miss'
    return this.#found(result, loaded, { wasExpired: entry !== null })
  }

  #startCall(id: string, entry: CacheEntry | null, lowPriority: boolean, client: string) {
    const isKnown = entry !== null && !entry.answer.isEmpty
    const options = { lowPriority, hasStale: entry !== null, isKnown, ...(client !== '' && { client }) }
    const load = (version: string) => this.#keeper.load(id, options, version)
    const run = { id, isPurged: false }
    const shared = this.#options.ttlMs === 0 ? null : this.#shared // replicas have nothing to share with a TTL of 0
    const request = { id, entry, options, load, isPurged: () => run.isPurged }
    const fetch = async () => {
      const loaded = await this.purge.track(run, async () => shared?.load(request) ?? load(''))
      return run.isPurged ? loaded : this.#keeper.keep(loaded)
    }
    const call = this.#calls.start(copyString(id), fetch, (error) => {
      if (!run.isPurged) this.#negative.record(id, asServiceError(error))
    })
    // Not in `fetch`: a call that outlived its deadline must not end the back-off of a later call.
    call.result.then(() => this.#negative.clear(id)).catch(() => {})
    return call
  }

  /** The stale entry, if there is one that may replace the error; else throws the error. */
  #staleOr(error: ServiceError, entry: CacheEntry | null): LookupResult {
    if (entry !== null && allowsStaleFallback(error) && this.#freshness.mayReplace(error, entry)) {
      return this.#found('stale_error', entry, { staleReason: error })
    }
    this.#deps.observer.lookedUp('error', null)
    throw error
  }

  #found(
    result: LookupResult['result'],
    entry: CacheEntry,
    { age = this.#freshness.of(entry), wasExpired = false, staleReason = null }: FoundDetails = {},
  ): LookupResult {
    const { ageMs, ttlMs } = age
    this.#deps.observer.lookedUp(result, ageMs / 1000)
    if (this.#deps.pacing !== null) recordLookup(this.#deps.pacing, result, entry, ageMs)
    const { answer, doubt, changedAt } = entry
    const isStored =
      this.#options.ttlMs > 0 && (result !== 'miss' || this.store.peek(answer.id)?.answer === answer)
    const isEmptyUnconfirmed = doubt !== null
    return { answer, result, ageMs, ttlMs, wasExpired, isStored, changedAt, staleReason, isEmptyUnconfirmed }
  }

  #createSharedLoader(): SharedLoader | null {
    const { shared, clock, random } = this.#deps
    const { powerFilter, flightTimeoutMs: deadlineMs } = this.#options
    if (!shared) return null
    const parts = { freshness: this.#freshness, negativeCache: this.#negative, doubt: this.#doubt }
    const onStale = (entry: CacheEntry) => void this.#keeper.keep(entry)
    return new SharedLoader({ ...shared, ...parts, clock, random, deadlineMs, powerFilter, onStale })
  }
}
