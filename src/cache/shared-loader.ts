import { randomBytes } from 'node:crypto'
import { decodeAvailability } from '../availability/decode.ts'
import type { Clock } from '../lib/clock.ts'
import { asServiceError, ServiceError } from '../errors.ts'
import type { Observer, SharedResult } from '../events.ts'
import { Answer } from './answer.ts'
import type { Freshness } from './freshness.ts'
import type { NegativeCache } from './negative-cache.ts'
import { PeerError } from './negative-cache.ts'
import type { SharedAnswer, SharedAnswerStore } from './shared-store.ts'
import { LEASE_MS, RENEW_EVERY_MS } from './shared-store.ts'
import type { CacheEntry } from './entry-store.ts'
import { floorMs } from './entry-store.ts'

export interface SharedLoaderDeps {
  readonly store: SharedAnswerStore
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  readonly observer: Pick<Observer, 'sharedCacheLookedUp'>
  /** Nobody waits for a flight longer than this, in ms. */
  readonly deadlineMs: number
  readonly freshness: Pick<Freshness, 'maxAgeMs' | 'staleForMs'>
  readonly negativeCache: Pick<NegativeCache, 'ttlMsFor'>
}

export interface LoadRequest {
  readonly id: string
  /** What is held already, old as it may be. */
  readonly entry: CacheEntry | undefined
  /** Nobody waits for it. */
  readonly lowPriority: boolean
  /** Calls upstream; the answer gets this name. */
  readonly load: (token: string) => Promise<CacheEntry>
}

/** Bounds of the pause before looking again while another replica calls, in ms. */
const PAUSE_OF_CALLERS_MS = [10, 30] as const
const PAUSE_OF_REFRESHES_MS = [100, 300] as const

const TOO_LATE = 'the replica that called got no answer in time'

interface Outcome {
  /** Null if it is on this replica to call. */
  readonly answer: CacheEntry | null
  readonly result: SharedResult
  /** In whose name the lease is, if there is one. */
  readonly token: string
}

/**
 * A flight that the replicas share: an answer that another one has; else the lease, and a call of our own; else a
 * while of waiting for the one who holds the lease. Without the shared tier it is a call of our own at once.
 */
export class SharedLoader {
  readonly #parts: SharedLoaderDeps

  constructor(parts: SharedLoaderDeps) {
    this.#parts = parts
  }

  async load(wanted: LoadRequest): Promise<CacheEntry> {
    const { store: tier } = this.#parts
    if (!tier.isUp) return this.#call(wanted, newVersion())
    const { answer, result, token } = await this.#negotiate(wanted)
    this.#parts.observer.sharedCacheLookedUp(result)
    return answer ?? this.#call(wanted, token)
  }

  /**
   * Looks until there is an answer, or it is on this replica to call.
   * @throws ServiceError that another replica's call has just ended in
   */
  async #negotiate({ id, entry: held, lowPriority: background }: LoadRequest): Promise<Outcome> {
    const { store: tier, clock, deadlineMs } = this.#parts
    const deadline = clock.now() + deadlineMs
    const token = newVersion()
    let known = held?.version ?? ''
    let result: SharedResult = 'miss'
    for (;;) {
      const seen = await tier.leaseGet(id, known, token, LEASE_MS)
      switch (seen.kind) {
        case 'answer': {
          const adopted = this.#adopt(id, seen.answer)
          if (adopted !== null && isNewer(adopted, held) && this.#isWanted(adopted, background)) {
            return { answer: adopted, result: 'hit', token }
          }
          if (adopted === null) result = 'error'
          known = seen.answer.version
          break
        }
        case 'taken':
          if (clock.now() > deadline) throw new ServiceError('UpstreamTimeout', { reason: TOO_LATE })
          await this.#pause(background)
          break
        case 'setback':
          throw new PeerError(seen.code, seen.ms)
        case 'lease':
          return { answer: null, result: seen.overCorruptValue ? 'error' : result, token }
        case 'failed':
          return { answer: null, result: 'error', token }
      }
    }
  }

  /** Calls upstream, and lets the others know how it ended. */
  async #call({ id, load }: LoadRequest, token: string): Promise<CacheEntry> {
    const { store: tier, negativeCache: setbacks } = this.#parts
    const stopRenewing = this.#renewed(id, token)
    try {
      const held = await load(token)
      this.#publish(id, held)
      return held
    } catch (thrown) {
      const error = asServiceError(thrown)
      tier.release(id, token, { code: error.code, ms: setbacks.ttlMsFor(id, error) })
      throw error
    } finally {
      stopRenewing()
    }
  }

  /** Null for what is no answer for this station. */
  #adopt(id: string, { json, ageMs, startedAgoMs, jitter, version: token }: SharedAnswer): CacheEntry | null {
    try {
      const answer = new Answer(decodeAvailability(json, id))
      const now = this.#parts.clock.now()
      const [receivedAt, startedAt] = [floorMs(now - ageMs), floorMs(now - startedAgoMs)]
      return {
        answer,
        receivedAt,
        startedAt,
        jitter,
        version: token,
        fromPeer: true,
        lastUsedAt: floorMs(now),
      }
    } catch {
      return null
    }
  }

  /** A refresh is for a fresh answer; who waits may be content with an old one. */
  #isWanted(answer: CacheEntry, background: boolean): boolean {
    return !background || this.#parts.freshness.staleForMs(answer) <= 0
  }

  #publish(id: string, held: CacheEntry): void {
    const { clock, store: tier, freshness } = this.#parts
    const { answer, receivedAt, startedAt, jitter, version: token } = held
    const now = clock.now()
    const [ageMs, startedAgoMs] = [now - receivedAt, now - startedAt]
    tier.publish(
      id,
      { json: answer.json, ageMs, startedAgoMs, jitter, version: token },
      freshness.maxAgeMs(held),
    )
  }

  /** Keeps the lease until the function returned is called. */
  #renewed(id: string, token: string): () => void {
    const { clock, store: tier } = this.#parts
    let cancel: () => void
    const schedule = () => {
      cancel = clock.after(RENEW_EVERY_MS, () => {
        tier.renew(id, token, LEASE_MS)
        schedule()
      })
    }
    schedule()
    return () => {
      cancel()
    }
  }

  #pause(background: boolean): Promise<void> {
    const { clock, random } = this.#parts
    const [shortest, longest] = background ? PAUSE_OF_REFRESHES_MS : PAUSE_OF_CALLERS_MS
    return new Promise((resolve) => void clock.after(shortest + random() * (longest - shortest), resolve))
  }
}

function newVersion(): string {
  return randomBytes(9).toString('base64url')
}

function isNewer(one: CacheEntry, other: CacheEntry | undefined): boolean {
  return other === undefined || one.receivedAt > other.receivedAt
}
