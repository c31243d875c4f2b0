import type { Source } from '../availability/model.ts'
import type { Clock } from '../clock.ts'
import { ServiceError } from '../errors.ts'

export interface RateLimitOptions {
  /** Calls a second; 0 is no limit. */
  readonly perSecond: number
  /** Longest wait for a place, in ms. */
  readonly queueTimeoutMs: number
}

export interface RateLimited {
  readonly source: Source
  /** Calls that wait for their place. */
  readonly queueLength: () => number
}

/** A token's way back is longer than its time by this: what leaves here a second apart may arrive closer. */
const MARGIN_MS = 20
/** This part of the tokens is for callers who have nothing; refreshes leave it alone. */
const CALLERS_SHARE = 0.25

/**
 * Lets no more calls through than allowed: a bucket of tokens, each of which comes back one second after it was
 * taken, so that no second sees more calls than the limit, wherever it begins.
 *
 * A caller's place is known when it asks, so one who would wait too long is refused at once. A background call
 * never waits, and leaves the last quarter of the tokens to callers.
 */
export function withRateLimit(inner: Source, options: RateLimitOptions, clock: Clock): RateLimited {
  if (options.perSecond === 0) return { source: inner, queueLength: () => 0 }
  const tokens = new Tokens(options.perSecond)
  let waiting = 0

  const source: Source = async (id, call) => {
    const now = clock.now()
    const waitMs = tokens.waitMs(now, call.background)
    if (waitMs > (call.background ? 0 : options.queueTimeoutMs + MARGIN_MS)) throw tooManyCalls(waitMs)
    const token = tokens.take(now + waitMs)
    if (waitMs > 0) {
      waiting++
      for (let ms = waitMs; ms > 0; ms = tokens.tooEarlyMs(token, clock.now())) {
        await new Promise<void>((resolve) => void clock.after(ms, resolve))
      }
      waiting--
    }
    tokens.left(token, clock.now())
    return inner(id, call)
  }
  return { source, queueLength: () => waiting }
}

class Tokens {
  /** When each token is back, as a ring that begins at the one that is back first. */
  readonly #backAt: number[]
  /** When the last call with each token left: later than planned, if the process was busy. */
  readonly #leftAt: number[]
  readonly #roundTripMs: number
  readonly #reserved: number
  #first = 0

  constructor(perSecond: number) {
    const count = Math.max(1, Math.ceil(perSecond))
    this.#backAt = Array.from({ length: count }, () => Number.NEGATIVE_INFINITY)
    this.#leftAt = [...this.#backAt]
    this.#roundTripMs = (count / perSecond) * 1_000 + MARGIN_MS
    this.#reserved = Math.floor(count * CALLERS_SHARE)
  }

  /** Until a token is back; with `leaveReserve`, until one is back beyond those that are for callers. */
  waitMs(now: number, leaveReserve: boolean): number {
    const index = (this.#first + (leaveReserve ? this.#reserved : 0)) % this.#backAt.length
    return Math.max(0, (this.#backAt[this.#first] as number) - now, (this.#backAt[index] as number) - now)
  }

  /** Takes the first token for a call that is planned for then. */
  take(at: number): number {
    const token = this.#first
    this.#backAt[token] = at + this.#roundTripMs
    this.#first = (token + 1) % this.#backAt.length
    return token
  }

  /** How much longer the next call must wait, because the one before it with this token left late. */
  tooEarlyMs(token: number, now: number): number {
    return (this.#leftAt[token] as number) + this.#roundTripMs - now
  }

  left(token: number, at: number): void {
    this.#leftAt[token] = at
    this.#backAt[token] = Math.max(this.#backAt[token] as number, at + this.#roundTripMs)
  }
}

function tooManyCalls(waitMs: number): ServiceError {
  return new ServiceError('TooManyRequests', {
    reason: 'the limit of calls a second leaves no place in the queue',
    retryAfterMs: Math.max(1_000, waitMs),
  })
}
