import { randomBytes } from 'node:crypto'
import { decodeAvailability } from '../availability/decode.ts'
import type { Clock } from '../clock.ts'
import { asServiceError, ServiceError } from '../errors.ts'
import type { Observer, SharedResult } from '../observer.ts'
import { Answer } from './answer.ts'
import type { Freshness } from './freshness.ts'
import type { Setbacks } from './setbacks.ts'
import { OthersSetback } from './setbacks.ts'
import type { SharedAnswer, SharedTier } from './shared.ts'
import { RENEW_EVERY_MS } from './shared.ts'
import type { Held } from './store.ts'
import { wholeMs } from './store.ts'

export interface SharedFlightParts {
  readonly tier: SharedTier
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  readonly observer: Pick<Observer, 'sharedLookedUp'>
  /** Nobody waits for a flight longer than this, in ms. */
  readonly deadlineMs: number
  readonly freshness: Pick<Freshness, 'lifeMs' | 'overdueMs'>
  readonly setbacks: Pick<Setbacks, 'msAfter'>
}

export interface Wanted {
  readonly id: string
  /** What is held already, old as it may be. */
  readonly held: Held | undefined
  /** Nobody waits for it. */
  readonly background: boolean
  /** Calls upstream; the answer gets this name. */
  readonly load: (token: string) => Promise<Held>
}

/** Bounds of the pause before looking again while another replica calls, in ms. */
const PAUSE_OF_CALLERS_MS = [10, 30] as const
const PAUSE_OF_REFRESHES_MS = [100, 300] as const

const TOO_LATE = 'the replica that called got no answer in time'

interface Outcome {
  /** Null if it is on this replica to call. */
  readonly answer: Held | null
  readonly result: SharedResult
  /** In whose name the lease is, if there is one. */
  readonly token: string
}

/**
 * A flight that the replicas share: an answer that another one has; else the lease, and a call of our own; else a
 * while of waiting for the one who holds the lease. Without the shared tier it is a call of our own at once.
 */
export class SharedFlight {
  readonly #parts: SharedFlightParts

  constructor(parts: SharedFlightParts) {
    this.#parts = parts
  }

  async fly(wanted: Wanted): Promise<Held> {
    const { tier } = this.#parts
    if (!tier.isUp) return this.#call(wanted, newToken())
    const { answer, result, token } = await this.#negotiate(wanted)
    this.#parts.observer.sharedLookedUp(result)
    return answer ?? this.#call(wanted, token)
  }

  /**
   * Looks until there is an answer, or it is on this replica to call.
   * @throws ServiceError that another replica's call has just ended in
   */
  async #negotiate({ id, held, background }: Wanted): Promise<Outcome> {
    const { tier, clock, deadlineMs } = this.#parts
    const deadline = clock.now() + deadlineMs
    const token = newToken()
    let known = held?.token ?? ''
    let result: SharedResult = 'miss'
    for (;;) {
      const seen = await tier.look(id, known, token)
      switch (seen.kind) {
        case 'answer': {
          const adopted = this.#adopt(id, seen.answer)
          if (adopted !== null && isNewer(adopted, held) && this.#isWanted(adopted, background)) {
            return { answer: adopted, result: 'hit', token }
          }
          if (adopted === null) result = 'error'
          known = seen.answer.token
          break
        }
        case 'taken':
          if (clock.now() > deadline) throw new ServiceError('UpstreamTimeout', { reason: TOO_LATE })
          await this.#pause(background)
          break
        case 'setback':
          throw new OthersSetback(seen.code, seen.ms)
        case 'lease':
          return { answer: null, result: seen.overCorruptValue ? 'error' : result, token }
        case 'failed':
          return { answer: null, result: 'error', token }
      }
    }
  }

  /** Calls upstream, and lets the others know how it ended. */
  async #call({ id, load }: Wanted, token: string): Promise<Held> {
    const { tier, setbacks } = this.#parts
    const stopRenewing = this.#renewed(id, token)
    try {
      const held = await load(token)
      this.#publish(id, held)
      return held
    } catch (thrown) {
      const error = asServiceError(thrown)
      tier.release(id, token, { code: error.code, ms: setbacks.msAfter(id, error) })
      throw error
    } finally {
      stopRenewing()
    }
  }

  /** Null for what is no answer for this station. */
  #adopt(id: string, { json, ageMs, startedAgoMs, jitter, token }: SharedAnswer): Held | null {
    try {
      const answer = new Answer(decodeAvailability(json, id))
      const now = this.#parts.clock.now()
      const [receivedAt, startedAt] = [wholeMs(now - ageMs), wholeMs(now - startedAgoMs)]
      return { answer, receivedAt, startedAt, jitter, token, adopted: true, usedAt: wholeMs(now) }
    } catch {
      return null
    }
  }

  /** A refresh is for a fresh answer; who waits may be content with an old one. */
  #isWanted(answer: Held, background: boolean): boolean {
    return !background || this.#parts.freshness.overdueMs(answer) <= 0
  }

  #publish(id: string, held: Held): void {
    const { clock, tier, freshness } = this.#parts
    const { answer, receivedAt, startedAt, jitter, token } = held
    const now = clock.now()
    const [ageMs, startedAgoMs] = [now - receivedAt, now - startedAt]
    tier.publish(id, { json: answer.json, ageMs, startedAgoMs, jitter, token }, freshness.lifeMs(held))
  }

  /** Keeps the lease until the function returned is called. */
  #renewed(id: string, token: string): () => void {
    const { clock, tier } = this.#parts
    let cancel: () => void
    const schedule = () => {
      cancel = clock.after(RENEW_EVERY_MS, () => {
        tier.renew(id, token)
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

function newToken(): string {
  return randomBytes(9).toString('base64url')
}

function isNewer(one: Held, other: Held | undefined): boolean {
  return other === undefined || one.receivedAt > other.receivedAt
}
