import type { LoadOptions } from '../source.ts'
import { asServiceError, allowsStaleFallback, ServiceError } from '../errors.ts'
import { Answer } from './answer.ts'
import type { LookupResult } from './found.ts'
import { Freshness } from './freshness.ts'
import { ttlFactor } from './jitter.ts'
import type { CacheOptions, CacheDeps } from './parts.ts'
import { NegativeCache } from './negative-cache.ts'
import { SharedLoader } from './shared-loader.ts'
import type { Flight } from './single-flight.ts'
import { SingleFlight } from './single-flight.ts'
import type { CacheEntry } from './entry-store.ts'
import { EntryStore, floorMs } from './entry-store.ts'

export type { CacheOptions, CacheDeps, LookupResult }

/** So many callers may wait for one station; the next is told to come back. */
export const MAX_WAITERS = 10_000
const TOO_MANY_WAITERS = new ServiceError('UpstreamUnavailable', {
  reason: 'too many callers wait for this station',
  retryAfterMs: 1_000,
})

/**
 * The memory of answers: one call upstream for a station at a time, one unfiltered answer kept, its freshness
 * judged on a monotonic clock. `get` is the story of a lookup.
 */
export class Cache {
  readonly #options: CacheOptions
  readonly #parts: CacheDeps
  readonly #store: EntryStore
  readonly #flights: SingleFlight<CacheEntry>
  readonly #setbacks: NegativeCache
  readonly #freshness: Freshness
  readonly #shared: SharedLoader | null
  #lookups = 0

  constructor(options: CacheOptions, parts: CacheDeps) {
    this.#options = options
    this.#parts = parts
    this.#store = new EntryStore({ ...options, onEviction: () => parts.observer.evicted() })
    this.#flights = new SingleFlight({
      deadlineMs: options.flightTimeoutMs,
      after: (ms, callback) => parts.clock.after(ms, callback),
      timeoutError: () => new ServiceError('UpstreamTimeout', { reason: 'the flight reached its deadline' }),
    })
    const refusalMs = options.ttlMs === 0 ? 0 : options.emptyTtlMs
    this.#setbacks = new NegativeCache({ negativeTtlMs: refusalMs, clock: parts.clock })
    this.#freshness = new Freshness(options, parts.clock, parts.effectiveTtlMs)
    this.#shared = this.#openShared()
  }

  get entries(): number {
    return this.#store.entries
  }

  /** Bytes held, renderings included. */
  get bytes(): number {
    return this.#store.bytes
  }

  /** Calls under way. */
  get flights(): number {
    return this.#flights.size
  }

  /** Settles when the call under way for a station ends; undefined if there is none. */
  inFlight(id: string): Promise<unknown> | undefined {
    return this.#flights.inFlight(id)?.result
  }

  /** Lookups since the start. */
  get lookups(): number {
    return this.#lookups
  }

  /** How long ago each station held was asked for last, in ms, the most recent first. */
  *sinceLastUse(): Iterable<number> {
    const now = this.#parts.clock.now()
    for (const { lastUsedAt: usedAt } of this.#store.recent()) yield now - usedAt
  }

  /** What is held for a station, at no cost: no call, no lookup that counts, no use that keeps it longer. */
  peek(id: string): Pick<LookupResult, 'answer' | 'ageMs' | 'ttlMs'> | null {
    const held = this.#store.peek(id)
    return held === undefined ? null : { answer: held.answer, ...this.#freshness.of(held) }
  }

  /**
   * The station's answer: held, old, joined or fetched. What is held comes without a promise. `leaving` is called at
   * once and only if the caller has to wait; its signal detaches this caller and touches nobody else, and what it
   * throws, before anything is called, counts like an error of the call.
   * @throws ServiceError, thrown or as the rejection
   */
  get(id: string, leaving?: () => AbortSignal): LookupResult | Promise<LookupResult> {
    this.#lookups++
    const held = this.#store.get(id)
    if (held !== undefined) held.lastUsedAt = floorMs(this.#parts.clock.now())
    if (held !== undefined && this.#freshness.staleForMs(held) <= 0) return this.#found('hit', held)
    return this.#notFresh(id, held, leaving)
  }

  #notFresh(
    id: string,
    held: CacheEntry | undefined,
    leaving: (() => AbortSignal) | undefined,
  ): LookupResult | Promise<LookupResult> {
    const setback = this.#setbacks.get(id)
    if (setback !== null) return this.#oldOr(setback, held)

    if (held !== undefined && this.#freshness.mayServeWhileRevalidating(held)) {
      this.#refresh(held)
      return this.#found('stale', held)
    }
    return this.#wait(id, held, leaving)
  }

  /** Nobody waits for a refresh; a flight under way is as good as one of its own. */
  #refresh(held: CacheEntry): void {
    const { id } = held.answer
    if (this.#flights.inFlight(id) === undefined) this.#launch(id, held, true)
  }

  async #wait(
    id: string,
    held: CacheEntry | undefined,
    leaving: (() => AbortSignal) | undefined,
  ): Promise<LookupResult> {
    const joined = this.#flights.inFlight(id)
    let signal: AbortSignal | undefined
    let landed: CacheEntry | null
    try {
      signal = leaving?.()
      const flight = joined ?? this.#launch(id, held, false)
      if (flight.waiters >= MAX_WAITERS) throw TOO_MANY_WAITERS
      landed = await this.#fetchedOrTooSlow(flight, held, signal)
    } catch (error) {
      if (signal?.aborted !== true) return this.#oldOr(asServiceError(error), held)
      this.#parts.observer.lookedUp(joined === undefined ? 'miss' : 'coalesced', null)
      throw error
    }
    if (landed === null) return this.#found('stale', held as CacheEntry)
    // What another replica had may be old: it is as good as if it had been held from the start.
    if (landed.fromPeer && this.#freshness.staleForMs(landed) > 0) {
      const same = signal
      return this.#notFresh(id, landed, same && (() => same))
    }
    const ownResult = landed.fromPeer ? 'hit' : 'miss'
    return this.#found(joined === undefined ? ownResult : 'coalesced', landed, {
      wasExpired: held !== undefined,
    })
  }

  /** The flight's answer; null once waiting is worse than the old answer that is held. */
  #fetchedOrTooSlow(
    flight: Flight<CacheEntry>,
    held: CacheEntry | undefined,
    signal: AbortSignal | undefined,
  ): Promise<CacheEntry | null> {
    const fetched = this.#flights.wait(flight, signal)
    if (held === undefined || !this.#freshness.mayServeStale(held)) return fetched
    return new Promise((resolve, reject) => {
      const stopWaiting = this.#parts.clock.after(this.#options.softTimeoutMs, () => {
        if (this.#freshness.mayServeStale(held)) resolve(null)
      })
      fetched.finally(stopWaiting).then(resolve, reject)
    })
  }

  #launch(id: string, held: CacheEntry | undefined, background: boolean): Flight<CacheEntry> {
    const load = (token: string) =>
      this.#load(id, { lowPriority: background, hasStale: held !== undefined }, token)
    const fetch = async (): Promise<CacheEntry> => {
      const landed = await (this.#shared?.load({ id, entry: held, lowPriority: background, load }) ??
        load(''))
      // A refusal in force is that of a later call: this one outlived its deadline.
      if (this.#options.ttlMs > 0 && !this.#setbacks.hasNegative(id)) this.#store.put(landed)
      return landed
    }
    const flight = this.#flights.start(id, fetch, (error) => {
      this.#setbacks.record(id, asServiceError(error))
    })
    // Not so in `fetch`: a call that outlived its deadline ends no setback of a later one.
    flight.result.then(
      () => this.#setbacks.clear(id),
      () => {},
    )
    return flight
  }

  async #load(id: string, call: LoadOptions, token: string): Promise<CacheEntry> {
    const { load, clock, random } = this.#parts
    const startedAt = floorMs(clock.now())
    const answer = new Answer(await load(id, call))
    const receivedAt = floorMs(clock.now())
    const jitter = ttlFactor(random())
    return { answer, receivedAt, startedAt, jitter, version: token, fromPeer: false, lastUsedAt: receivedAt }
  }

  /** An old answer in place of the error, if one is held that is young enough and better. */
  #oldOr(error: ServiceError, held: CacheEntry | undefined): LookupResult {
    if (held !== undefined && allowsStaleFallback(error) && this.#freshness.mayServeStale(held)) {
      return this.#found('stale_error', held, { staleReason: error })
    }
    this.#parts.observer.lookedUp('error', null)
    throw error
  }

  #found(
    result: LookupResult['result'],
    held: CacheEntry,
    how: Partial<Pick<LookupResult, 'wasExpired' | 'staleReason'>> = {},
  ): LookupResult {
    const { ageMs, ttlMs } = this.#freshness.of(held)
    this.#parts.observer.lookedUp(result, ageMs / 1000)
    return {
      answer: held.answer,
      result,
      ageMs,
      ttlMs,
      wasExpired: how.wasExpired ?? false,
      isStored: this.#options.ttlMs > 0,
      staleReason: how.staleReason ?? null,
    }
  }

  /** With a TTL of 0 nothing may be kept, so there is nothing that replicas could hand to each other. */
  #openShared(): SharedLoader | null {
    const { shared, clock, random } = this.#parts
    if (!shared || this.#options.ttlMs === 0) return null
    const deadlineMs = this.#options.flightTimeoutMs
    const [freshness, setbacks] = [this.#freshness, this.#setbacks]
    return new SharedLoader({ ...shared, clock, random, deadlineMs, freshness, negativeCache: setbacks })
  }
}
