/*
 * One call per station among all replicas. Three parts play together:
 *
 * - the in-flight call (single-flight.ts) makes it one per station within this process;
 * - the lease (shared-store.ts) makes it one among replicas. It is short and renewed, so that a replica that dies or is
 *   cut off delays the others by at most LEASE_MS;
 * - the negative cache (negative-cache.ts) keeps the error of a failed call. The replica that called leaves the error in
 *   place of the lease; the others record it for the rest of its time, so that not each of them makes a call that fails.
 *
 *     waiters      replica A              shared store             replica B      waiters
 *       │ get          │                       │                       │ get          │
 *       ├─────────────▶│ leaseGet(known, A)    │                       │◀─────────────┤
 *       │  (one call   ├──────────────────────▶│                       │              │
 *       │  in flight)  │◀────────────── lease ─┤    leaseGet(known, B) │              │
 *       │              │                       │◀──────────────────────┤              │
 *       │              │ load() ──▶ TomTom     ├─ leased-by-peer ─────▶│              │
 *       │              │                       │                       │ pause, again │
 *       │              │ renew (every 0.5 s)   │                       │              │
 *       │              ├──────────────────────▶│                       │              │
 *       │              │ publish(answer)       │                       │              │
 *       │              ├──────────────────────▶│    leaseGet(known, B) │              │
 *       │◀─────────────┤                       │◀──────────────────────┤              │
 *       │   miss       │                       ├─ answer ─────────────▶├─────────────▶│ hit
 *
 * If the call fails, A sends release(error) instead of publish, and B gets `error` instead of `answer`: a PeerError, which
 * ends B's in-flight call and enters B's negative cache like an error of its own.
 *
 * A lease that ends while its holder still calls costs a second call and nothing else: answers carry the start of their
 * call, and the store keeps the one of the later call. If the store is unavailable, the replica calls without a lease.
 */
import { randomBytes } from 'node:crypto'
import type { PowerFilter } from '../availability/filter.ts'
import { asServiceError, ServiceError } from '../errors.ts'
import type { Observer, SharedResult } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import { pause } from '../lib/clock.ts'
import type { Turns } from '../lib/turns.ts'
import type { LoadOptions } from '../source.ts'
import type { EmptyDoubt } from './empty-doubt.ts'
import type { CacheEntry } from './entry-store.ts'
import type { Freshness } from './freshness.ts'
import type { NegativeCache } from './negative-cache.ts'
import { PeerError } from './negative-cache.ts'
import { knownState } from './pacing-port.ts'
import { entryOf } from './shared-entry.ts'
import type { SharedAnswer, SharedAnswerStore } from './shared-store.ts'

export interface SharedLoaderDeps {
  readonly store: SharedAnswerStore
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  readonly observer: Pick<Observer, 'sharedCacheLookedUp'>
  /** Whether a call would not be rejected at once by the quota. Absent: it never is. */
  readonly isAffordable?: (options: LoadOptions, id: string) => boolean
  /** Deadline of an in-flight call in ms. After it no waiter is left. */
  readonly deadlineMs: number
  readonly freshness: Pick<Freshness, 'maxAgeMs' | 'staleForMs'>
  readonly negativeCache: Pick<NegativeCache, 'ttlMsFor'>
  readonly doubt: Pick<EmptyDoubt, 'isInForce'>
  readonly powerFilter: PowerFilter | undefined
  /** Shared with what else decodes long answers. */
  readonly turns?: Turns
  /** A peer's answer is newer than the present entry; it need not be fresh. */
  readonly onStale: (entry: CacheEntry) => void
}

export interface LoadRequest {
  readonly id: string
  /** The present entry, however stale. */
  readonly entry: CacheEntry | null
  readonly options: LoadOptions
  /** Calls upstream; `version` becomes the version of the entry. */
  readonly load: (version: string) => Promise<CacheEntry>
  /** The station was purged since the request: its answer is not shared. */
  readonly isPurged: () => boolean
}

/**
 * The longest wait for a replica that died: half of UPSTREAM_TIMEOUT's default, so that a waiter still has time for a
 * call before the deadline.
 */
export const LEASE_MS = 1_500
/** A third of the lease: one renewal may be lost, or be late by 0.5 s. */
const RENEW_EVERY_MS = LEASE_MS / 3

/**
 * Bounds of the random pause before the next leaseGet while a peer calls, in ms. With waiters it is short against a call
 * to TomTom, as it adds to their latency; without any, a tenth of the commands suffices.
 */
const PAUSE_WITH_WAITERS_MS = [10, 30] as const
const PAUSE_OF_REFRESH_MS = [100, 300] as const

/** A store that returns more unusable answers than this for one request counts as unavailable. */
const MAX_UNUSABLE_ANSWERS = 100

/** What #leaseOrAnswer found: a peer's answer, or that this replica makes the call. */
interface Outcome {
  /** Null if this replica makes the call. */
  readonly answer: CacheEntry | null
  /** The call is about to be rejected, and has no lease. */
  readonly isRejected?: boolean
  readonly result: SharedResult
  /** The holder of the lease, if there is one, and the version of the answer to be. */
  readonly token: string
}

/** Loads an entry from the shared store, or from upstream with a lease on the call. */
export class SharedLoader {
  readonly #deps: SharedLoaderDeps

  constructor(deps: SharedLoaderDeps) {
    this.#deps = deps
  }

  /** @throws ServiceError the error of this replica's call, or of a peer's */
  async load(request: LoadRequest): Promise<CacheEntry> {
    if (!this.#deps.store.isUp) return this.#call(request, newVersion())
    const { answer, isRejected = false, result, token } = await this.#leaseOrAnswer(request)
    this.#deps.observer.sharedCacheLookedUp(result)
    return answer ?? (isRejected ? request.load(token) : this.#call(request, token))
  }

  /** Takes over a newer answer of the store, unless the station is purged meanwhile. Makes no call. */
  async fetch(id: string, entry: CacheEntry | null, isPurged: () => boolean): Promise<void> {
    const { store, onStale } = this.#deps
    if (!store.isUp) return
    const reply = await store.leaseGet(id, entry?.version ?? '', { token: null, ms: LEASE_MS })
    const decoded = reply.kind === 'answer' ? await this.#decode(id, reply.answer) : null
    if (decoded !== null && isNewer(decoded, entry) && !isPurged()) onStale(decoded)
  }

  /**
   * Asks the store until there is a usable answer, or this replica may call. A call that the quota will reject takes no
   * lease: that would be a commit to disk for each of them.
   */
  async #leaseOrAnswer({ id, entry, options, isPurged }: LoadRequest): Promise<Outcome> {
    const { store, clock, deadlineMs, isAffordable = () => true } = this.#deps
    const { lowPriority } = options
    const deadline = clock.now() + deadlineMs
    const token = newVersion()
    let known = entry?.version ?? ''
    let result: SharedResult = 'miss'
    for (let unusable = 0; unusable < MAX_UNUSABLE_ANSWERS;) {
      const wanted = { token: isAffordable(options, id) ? token : null, ms: LEASE_MS }
      const reply = await store.leaseGet(id, known, wanted)
      switch (reply.kind) {
        case 'answer': {
          const decoded = await this.#decode(id, reply.answer)
          if (decoded === null) result = 'error'
          else if (isNewer(decoded, entry)) {
            if (this.#isUsable(decoded, lowPriority)) return { answer: decoded, result: 'hit', token }
            if (!isPurged()) this.#deps.onStale(decoded) // what the next answer is compared with
          }
          known = reply.answer.version
          unusable++
          break
        }
        case 'leased-by-peer':
          if (clock.now() > deadline) {
            throw new ServiceError('UpstreamTimeout', { reason: 'the call of another replica took too long' })
          }
          await this.#pause(lowPriority)
          break
        case 'error':
          throw new PeerError(reply.code, reply.ms)
        case 'lease':
          return { answer: null, result: reply.overCorruptValue ? 'error' : result, token }
        case 'none':
          return { answer: null, isRejected: true, result, token }
        case 'unavailable':
          return { answer: null, result: 'error', token }
      }
    }
    return { answer: null, result: 'error', token }
  }

  #decode(id: string, answer: SharedAnswer): Promise<CacheEntry | null> {
    return entryOf(id, answer, { ...this.#deps, now: this.#deps.clock.now() })
  }

  /** Calls upstream and shares the answer, or the error and its back-off. */
  async #call({ id, load, isPurged }: LoadRequest, token: string): Promise<CacheEntry> {
    const { store, negativeCache } = this.#deps
    const stopRenewing = this.#keepLease(id, token)
    try {
      const entry = await load(token)
      if (!isPurged()) this.#publish(id, entry)
      // A version with a count of empty answers is not the lease's token, so publishing did not end the lease.
      if (entry.version !== token) store.release(id, token, { code: 'UpstreamFailed', ms: 0 })
      return entry
    } catch (thrown) {
      const error = asServiceError(thrown)
      store.release(id, token, { code: error.code, ms: negativeCache.ttlMsFor(id, error) })
      throw error
    } finally {
      stopRenewing()
    }
  }

  /** A refresh needs an answer that is due for no call; a waiter may also get a stale one. */
  #isUsable(entry: CacheEntry, lowPriority: boolean): boolean {
    const { freshness, doubt } = this.#deps
    return (
      !lowPriority || doubt.isInForce(entry) || (entry.doubt === null && freshness.staleForMs(entry) <= 0)
    )
  }

  #publish(id: string, entry: CacheEntry): void {
    const { clock, store, freshness } = this.#deps
    const { answer, receivedAt, startedAt, jitter, version, changedAt } = entry
    const now = clock.now()
    const [ageMs, startedAgoMs] = [now - receivedAt, now - startedAt]
    const lifeMs = Math.max(1, freshness.maxAgeMs(entry) - ageMs)
    const station = knownState(entry)
    const shared = { json: answer.json, ageMs, startedAgoMs, jitter, version, changedAt }
    store.publish(id, station === null ? shared : { ...shared, station }, lifeMs)
  }

  /** Renews the lease until the returned function is called. */
  #keepLease(id: string, token: string): () => void {
    const { clock, store } = this.#deps
    let cancel: () => void
    const schedule = () => {
      cancel = clock.after(RENEW_EVERY_MS, () => {
        store.renew(id, { token, ms: LEASE_MS })
        schedule()
      })
    }
    schedule()
    return () => {
      cancel()
    }
  }

  #pause(lowPriority: boolean): Promise<void> {
    const { clock, random } = this.#deps
    const [min, max] = lowPriority ? PAUSE_OF_REFRESH_MS : PAUSE_WITH_WAITERS_MS
    return pause(clock, min + random() * (max - min))
  }
}

/** 72 random bits, in characters that every store can use as a key or a field. */
function newVersion(): string {
  return randomBytes(9).toString('base64url')
}

function isNewer(entry: CacheEntry, other: CacheEntry | null): boolean {
  return other === null || entry.startedAt > other.startedAt
}
