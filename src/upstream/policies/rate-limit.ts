import type { Availability } from '../../availability/model.ts'
import type { Source } from '../../source.ts'
import type { Clock } from '../../lib/clock.ts'
import { ServiceError } from '../../errors.ts'

export interface RateLimitOptions {
  /** Calls a second; 0 is no limit. */
  readonly perSecond: number
  /** Longest wait for a place, in ms. */
  readonly queueTimeoutMs: number
  /** This replica's part of the limit while it is not shared, from 0 to 1. */
  readonly share?: number
}

/** A bucket of tokens, each of which is back so long after it was taken. */
export interface TokenBucketOptions {
  readonly count: number
  readonly roundTripMs: number
  /** This many of the tokens are for callers alone. */
  readonly reserved: number
}

/** One bucket for all replicas. */
export interface TokenStore {
  /**
   * Takes a token that is back within `maxWaitMs`, leaving `leave` tokens to others. The ms until it is back; more
   * than `maxWaitMs` if none was taken; null while nothing can be known.
   */
  take(bucket: TokenBucketOptions, leave: number, maxWaitMs: number): Promise<number | null>
}

export interface RateLimited {
  readonly source: Source
  /** Calls that wait for their place. */
  readonly queueLength: () => number
}

/** A token's way back is longer than its time by this: what leaves here a second apart may arrive closer. */
const MARGIN_MS = 20
/** A call is there when it is answered, or after this: the first of a connection has a handshake before it. */
const LONGEST_WAY_MS = 100
/** This part of the tokens is for callers who have nothing; refreshes leave it alone. */
const CALLERS_SHARE = 0.25

/**
 * Lets no more calls through than allowed: a bucket of tokens, each of which comes back one second after
 * its call has reached upstream, so that no second there sees more calls than the limit, wherever it begins.
 *
 * A caller's place is known when it asks, so one who would wait too long is refused at once. A background call
 * never waits, and leaves the last quarter of the tokens to callers.
 */
export function withRateLimit(
  inner: Source,
  options: RateLimitOptions,
  clock: Clock,
  shared: TokenStore | null = null,
): RateLimited {
  if (options.perSecond === 0) return { source: inner, queueLength: () => 0 }
  const bucket = bucketOf(options.perSecond)
  const own = new LocalTokenBucket(bucketOf(options.perSecond * (options.share ?? 1)))
  let waiting = 0

  /** Says once when the call is there: it is answered, or has had time enough to arrive. */
  const underWay = async (call: () => Promise<Availability>, arrived: () => void) => {
    let isThere = false
    const note = () => {
      if (!isThere) arrived()
      isThere = true
    }
    const dontNote = clock.after(LONGEST_WAY_MS, note)
    try {
      return await call()
    } finally {
      dontNote()
      note()
    }
  }

  const source: Source = async (id, call) => {
    const maxWaitMs = call.lowPriority ? 0 : options.queueTimeoutMs + MARGIN_MS
    const leave = call.lowPriority ? bucket.reserved : 0
    const waitOfAllMs = shared === null ? null : await shared.take(bucket, leave, maxWaitMs)
    const now = clock.now()
    const waitMs = waitOfAllMs ?? own.waitMs(now, call.lowPriority)
    if (waitMs > maxWaitMs) throw tooManyCalls(waitMs)
    const token = own.take(now + waitMs)
    const tooEarlyMs = () => (waitOfAllMs === null ? own.tooEarlyMs(token, clock.now()) : 0)
    if (waitMs > 0) {
      waiting++
      for (let ms = waitMs; ms > 0; ms = tooEarlyMs()) {
        await new Promise<void>((resolve) => void clock.after(ms, resolve))
      }
      waiting--
    }
    return underWay(
      () => inner(id, call),
      () => own.arrived(token, clock.now()),
    )
  }
  return { source, queueLength: () => waiting }
}

function bucketOf(perSecond: number): TokenBucketOptions {
  const count = Math.max(1, Math.ceil(perSecond))
  const roundTripMs = (count / perSecond) * 1_000 + MARGIN_MS
  return { count, roundTripMs, reserved: Math.floor(count * CALLERS_SHARE) }
}

class LocalTokenBucket {
  readonly #bucket: TokenBucketOptions
  /** When each token is back, as a ring that begins at the one that is back first. */
  readonly #backAt: number[]
  /** When the last call with each token arrived: later than planned, if it was on its way or the process busy. */
  readonly #arrivedAt: number[]
  #first = 0

  constructor(bucket: TokenBucketOptions) {
    this.#bucket = bucket
    this.#backAt = Array.from({ length: bucket.count }, () => Number.NEGATIVE_INFINITY)
    this.#arrivedAt = [...this.#backAt]
  }

  /** Until a token is back; with `leaveReserve`, until one is back beyond those that are for callers. */
  waitMs(now: number, leaveReserve: boolean): number {
    const index = (this.#first + (leaveReserve ? this.#bucket.reserved : 0)) % this.#backAt.length
    return Math.max(0, (this.#backAt[this.#first] as number) - now, (this.#backAt[index] as number) - now)
  }

  /** Takes the first token for a call that is planned for then. */
  take(at: number): number {
    const token = this.#first
    this.#backAt[token] = at + this.#bucket.roundTripMs
    this.#first = (token + 1) % this.#backAt.length
    return token
  }

  /** How much longer the next call must wait, because the one before it with this token arrived late. */
  tooEarlyMs(token: number, now: number): number {
    return (this.#arrivedAt[token] as number) + this.#bucket.roundTripMs - now
  }

  arrived(token: number, at: number): void {
    this.#arrivedAt[token] = at
    this.#backAt[token] = Math.max(this.#backAt[token] as number, at + this.#bucket.roundTripMs)
  }
}

function tooManyCalls(waitMs: number): ServiceError {
  return new ServiceError('TooManyRequests', {
    reason: 'the limit of calls a second leaves no place in the queue',
    retryAfterMs: Math.max(1_000, waitMs),
  })
}
