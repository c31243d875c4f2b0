import type { Call, Source } from '../availability/model.ts'
import type { Clock } from '../clock.ts'
import { asServiceError, prefersOldAnswer, ServiceError } from '../errors.ts'
import type { CacheResult, Observer } from '../observer.ts'
import { Answer } from './answer.ts'
import { Setbacks } from './setbacks.ts'
import type { Flight } from './single-flight.ts'
import { SingleFlight } from './single-flight.ts'
import type { Held } from './store.ts'
import { Store } from './store.ts'

export interface CacheOptions {
  /** Fresh time in ms; 0 keeps nothing at all and still coalesces. */
  readonly ttlMs: number
  /** Fresh time of stations without connectors, and how long upstream's 400 and 404 are remembered. */
  readonly emptyTtlMs: number
  /** Beyond the TTL: old at once, one refresh in the background. */
  readonly staleWhileRevalidateMs: number
  /** Beyond the TTL: old rather than an error. */
  readonly staleIfErrorMs: number
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
}

/** What a lookup found, and how. */
export interface Found {
  readonly answer: Answer
  readonly result: Exclude<CacheResult, 'error'>
  /** Since upstream answered. */
  readonly ageMs: number
  /** What is left of the fresh time; negative for an old answer. */
  readonly ttlMs: number
  /** Upstream was asked although an answer was held, for that had expired. */
  readonly expired: boolean
  /** Whether the cache keeps the answer. */
  readonly stored: boolean
  /** The error in whose place an old answer is served. */
  readonly insteadOf: ServiceError | null
}

/** So many callers may wait for one station; the next is told to come back. */
export const MAX_WAITERS = 10_000

/** An entry's TTL is shortened by up to this part, so that entries stored together expire apart. */
const JITTER = 0.1

/**
 * The memory of answers: one call upstream for a station at a time, one unfiltered answer kept, its freshness
 * judged on a monotonic clock. `get` is the story of a lookup.
 */
export class Cache {
  readonly #options: CacheOptions
  readonly #parts: CacheParts
  readonly #store: Store
  readonly #flights: SingleFlight<Held>
  readonly #setbacks: Setbacks
  #lookups = 0

  constructor(options: CacheOptions, parts: CacheParts) {
    this.#options = options
    this.#parts = parts
    this.#store = new Store({ ...options, onEviction: () => parts.observer.evicted() })
    this.#flights = new SingleFlight({
      deadlineMs: options.flightTimeoutMs,
      after: (ms, callback) => parts.clock.after(ms, callback),
      timeoutError: () => new ServiceError('UpstreamTimeout', { reason: 'the flight reached its deadline' }),
    })
    this.#setbacks = new Setbacks({
      refusalMs: options.ttlMs === 0 ? 0 : options.emptyTtlMs,
      clock: parts.clock,
    })
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

  /** Lookups since the start. */
  get lookups(): number {
    return this.#lookups
  }

  /** How long ago each station held was asked for last, in ms, the most recent first. */
  *sinceLastUse(): Iterable<number> {
    const now = this.#parts.clock.now()
    for (const { usedAt } of this.#store.recent()) yield now - usedAt
  }

  /** What is held for a station, at no cost: no call, no lookup that counts, no use that keeps it longer. */
  peek(id: string): Pick<Found, 'answer' | 'ageMs' | 'ttlMs'> | null {
    const held = this.#store.peek(id)
    if (held === undefined) return null
    const ageMs = this.#ageMs(held)
    return { answer: held.answer, ageMs, ttlMs: this.#ttlMs(held) - ageMs }
  }

  /**
   * The station's answer: held, old, joined or fetched. What is held comes without a promise. `leaving` is
   * called only if the caller has to wait; its signal detaches this caller and touches nobody else.
   * @throws ServiceError, thrown or as the rejection
   */
  get(id: string, leaving?: () => AbortSignal): Found | Promise<Found> {
    this.#lookups++
    const held = this.#store.get(id)
    if (held !== undefined) held.usedAt = this.#parts.clock.now()
    const overdueMs = held === undefined ? Number.POSITIVE_INFINITY : this.#overdueMs(held)
    if (held !== undefined && overdueMs <= 0) return this.#found('hit', held)

    const setback = this.#setbacks.of(id)
    if (setback !== null) return this.#oldOr(setback, held)

    if (held !== undefined && overdueMs <= this.#options.staleWhileRevalidateMs) {
      this.#refresh(id)
      return this.#found('stale', held)
    }
    return this.#wait(id, held, leaving?.())
  }

  /** Nobody waits for a refresh; a flight under way is as good as one of its own. */
  #refresh(id: string): void {
    if (this.#flights.underWay(id) === undefined) this.#launch(id, { background: true, held: true })
  }

  async #wait(id: string, held: Held | undefined, signal: AbortSignal | undefined): Promise<Found> {
    const joined = this.#flights.underWay(id)
    const flight = joined ?? this.#launch(id, { background: false, held: held !== undefined })
    const result = joined === undefined ? 'miss' : 'coalesced'
    try {
      if (flight.waiters >= MAX_WAITERS) throw tooManyWaiters()
      const fetched = await this.#fetchedOrTooSlow(flight, held, signal)
      if (fetched === null) return this.#found('stale', held as Held)
      return this.#found(result, fetched, { expired: held !== undefined })
    } catch (error) {
      if (signal?.aborted === true) {
        this.#parts.observer.lookedUp(result, null)
        throw error
      }
      return this.#oldOr(asServiceError(error), held)
    }
  }

  /** The flight's answer; null once waiting is worse than the old answer that is held. */
  #fetchedOrTooSlow(
    flight: Flight<Held>,
    held: Held | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Held | null> {
    const fetched = this.#flights.wait(flight, signal)
    if (held === undefined || !this.#mayServeOld(held)) return fetched
    return new Promise((resolve, reject) => {
      const stopWaiting = this.#parts.clock.after(this.#options.softTimeoutMs, () => {
        if (this.#mayServeOld(held)) resolve(null)
      })
      fetched.finally(stopWaiting).then(resolve, reject)
    })
  }

  #launch(id: string, call: Call): Flight<Held> {
    const { load, clock, random } = this.#parts
    const startedAt = clock.now()
    const fetch = async (): Promise<Held> => {
      const answer = new Answer(await load(id, call))
      const receivedAt = clock.now()
      const held = { answer, receivedAt, startedAt, jitter: 1 - JITTER * random(), usedAt: receivedAt }
      // A refusal in force is that of a later call: this one outlived its deadline.
      if (this.#options.ttlMs > 0 && !this.#setbacks.isRefused(id)) this.#store.put(held)
      return held
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

  /** An old answer in place of the error, if one is held that is young enough and better. */
  #oldOr(error: ServiceError, held: Held | undefined): Found {
    if (held !== undefined && prefersOldAnswer(error) && this.#mayServeOld(held)) {
      return this.#found('stale_error', held, { insteadOf: error })
    }
    this.#parts.observer.lookedUp('error', null)
    throw error
  }

  #found(
    result: Found['result'],
    held: Held,
    how: Partial<Pick<Found, 'expired' | 'insteadOf'>> = {},
  ): Found {
    const ageMs = this.#ageMs(held)
    this.#parts.observer.lookedUp(result, ageMs / 1000)
    return {
      answer: held.answer,
      result,
      ageMs,
      ttlMs: this.#ttlMs(held) - ageMs,
      expired: how.expired ?? false,
      stored: this.#options.ttlMs > 0,
      insteadOf: how.insteadOf ?? null,
    }
  }

  #mayServeOld(held: Held): boolean {
    const { staleIfErrorMs, staleWhileRevalidateMs } = this.#options
    return this.#overdueMs(held) <= Math.max(staleIfErrorMs, staleWhileRevalidateMs)
  }

  /** How long the answer has been past its fresh time; 0 and less is fresh. */
  #overdueMs(held: Held): number {
    return this.#ageMs(held) - this.#ttlMs(held)
  }

  /** The TTL in force for this entry; a stretched one holds for stations without connectors as well. */
  #ttlMs({ answer, jitter }: Held): number {
    const { ttlMs, emptyTtlMs } = this.#options
    const effectiveMs = this.#parts.effectiveTtlMs()
    if (!answer.isEmpty) return effectiveMs * jitter
    return (effectiveMs > ttlMs ? Math.max(effectiveMs, emptyTtlMs) : emptyTtlMs) * jitter
  }

  #ageMs(held: Held): number {
    return Math.max(0, this.#parts.clock.now() - held.receivedAt)
  }
}

function tooManyWaiters(): ServiceError {
  return new ServiceError('UpstreamUnavailable', {
    reason: 'too many callers wait for this station',
    retryAfterMs: 1_000,
  })
}
