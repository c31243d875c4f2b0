import type { Source } from '../availability/model.ts'
import type { Clock } from '../clock.ts'
import { ServiceError } from '../errors.ts'

export interface RateLimitOptions {
  /** Calls a second; 0 is no limit. */
  readonly perSecond: number
  /** Longest wait for a place, in ms. */
  readonly queueTimeoutMs: number
  /** This replica's part of the limit while it is not shared, from 0 to 1. */
  readonly share?: number
}

/** A bucket of tokens, each of which is back so long after it was taken. */
export interface Bucket {
  readonly count: number
  readonly roundTripMs: number
  /** This many of the tokens are for callers alone. */
  readonly reserved: number
}

/** One bucket for all replicas. */
export interface SharedTokens {
  /**
   * Takes a token that is back within `maxWaitMs`, leaving `leave` tokens to others. The ms until it is back; more
   * than `maxWaitMs` if none was taken; null while nothing can be known.
   */
  take(bucket: Bucket, leave: number, maxWaitMs: number): Promise<number | null>
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
export function withRateLimit(
  inner: Source,
  options: RateLimitOptions,
  clock: Clock,
  shared: SharedTokens | null = null,
): RateLimited {
  if (options.perSecond === 0) return { source: inner, queueLength: () => 0 }
  const bucket = bucketOf(options.perSecond)
  const own = new Tokens(bucketOf(options.perSecond * (options.share ?? 1)))
  let waiting = 0

  const source: Source = async (id, call) => {
    const maxWaitMs = call.background ? 0 : options.queueTimeoutMs + MARGIN_MS
    const leave = call.background ? bucket.reserved : 0
    const waitOfAllMs = shared === null ? null : await shared.take(bucket, leave, maxWaitMs)
    const now = clock.now()
    const waitMs = waitOfAllMs ?? own.waitMs(now, call.background)
    if (waitMs > maxWaitMs) throw tooManyCalls(waitMs)
    own.take(now + waitMs)
    if (waitMs > 0) {
      waiting++
      await new Promise<void>((resolve) => void clock.after(waitMs, resolve))
      waiting--
    }
    return inner(id, call)
  }
  return { source, queueLength: () => waiting }
}

function bucketOf(perSecond: number): Bucket {
  const count = Math.max(1, Math.ceil(perSecond))
  const roundTripMs = (count / perSecond) * 1_000 + MARGIN_MS
  return { count, roundTripMs, reserved: Math.floor(count * CALLERS_SHARE) }
}

class Tokens {
  readonly #bucket: Bucket
  /** When each token is back, as a ring that begins at the one that is back first. */
  readonly #backAt: number[]
  #first = 0

  constructor(bucket: Bucket) {
    this.#bucket = bucket
    this.#backAt = Array.from({ length: bucket.count }, () => Number.NEGATIVE_INFINITY)
  }

  /** Until a token is back; with `leaveReserve`, until one is back beyond those that are for callers. */
  waitMs(now: number, leaveReserve: boolean): number {
    const index = (this.#first + (leaveReserve ? this.#bucket.reserved : 0)) % this.#backAt.length
    return Math.max(0, (this.#backAt[index] as number) - now)
  }

  take(at: number): void {
    this.#backAt[this.#first] = at + this.#bucket.roundTripMs
    this.#first = (this.#first + 1) % this.#backAt.length
  }
}

function tooManyCalls(waitMs: number): ServiceError {
  return new ServiceError('TooManyRequests', {
    reason: 'the limit of calls a second leaves no place in the queue',
    retryAfterMs: Math.max(1_000, waitMs),
  })
}
