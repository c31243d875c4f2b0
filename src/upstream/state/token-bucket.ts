import type { Clock } from '../../lib/clock.ts'

export interface TokenBucketOptions {
  /** Tokens in the bucket. */
  readonly count: number
  /** From the use of a token until it can be used again, in ms. */
  readonly tokenReuseMs: number
  /** This many of the tokens are left to calls of normal priority. */
  readonly reserved: number
}

export interface TokenRequest {
  /** Takes no token of the reserve. */
  readonly lowPriority: boolean
  /** Longest acceptable wait, in ms. */
  readonly maxWaitMs: number
}

/** Permission for one call. */
export interface Token {
  readonly kind: 'taken'
  /** Until the token can be used, in ms. */
  readonly waitMs: number
  /** After that wait: how much longer it is, because the token's previous call arrived late; 0 or less if it is over. */
  readonly extraWaitMs: () => number
  /** The call has arrived at upstream. */
  readonly arrived: () => void
}

/** The wait, in ms, would have been longer than requested; no token was taken. */
export interface NoToken {
  readonly kind: 'none'
  readonly waitMs: number
}

/** Permissions for calls, each of which can be used again some time after its call. */
export interface TokenBucket {
  take(request: TokenRequest): Token | NoToken | Promise<Token | NoToken>
}

/** A token is reused later than its time by this: calls that leave a second apart may arrive closer to each other. */
export const MARGIN_MS = 20
/** This part of the tokens is the reserve. */
const RESERVED_SHARE = 0.25

/**
 * A bucket for a limit of calls per second. A token comes back one second after its call has arrived at upstream, so
 * that no second there sees more calls than the limit, wherever that second begins. A limit that is no whole number
 * holds over a longer time: 0.5 is one token in two seconds.
 */
export function bucketFor(perSecond: number): TokenBucketOptions {
  const count = Math.max(1, Math.ceil(perSecond))
  const tokenReuseMs = (count / perSecond) * 1_000 + MARGIN_MS
  return { count, tokenReuseMs, reserved: Math.floor(count * RESERVED_SHARE) }
}

/** The bucket of one replica. */
export class LocalTokenBucket implements TokenBucket {
  readonly #options: TokenBucketOptions
  readonly #clock: Pick<Clock, 'now'>
  /** When each token can be used again: a ring that begins at the earliest. */
  readonly #backAt: number[]
  /** When each token's last call arrived: after the plan, if it was slow on its way or the process was busy. */
  readonly #arrivedAt: number[]
  #first = 0

  constructor(options: TokenBucketOptions, clock: Pick<Clock, 'now'>) {
    this.#options = options
    this.#clock = clock
    this.#backAt = Array.from({ length: options.count }, () => Number.NEGATIVE_INFINITY)
    this.#arrivedAt = [...this.#backAt]
  }

  take({ lowPriority, maxWaitMs }: TokenRequest): Token | NoToken {
    const waitMs = this.#waitMs(lowPriority ? this.#options.reserved : 0)
    return waitMs > maxWaitMs ? { kind: 'none', waitMs } : this.takeIn(waitMs)
  }

  /** Takes the first token for a call in `waitMs`, whether or not the token is back by then. */
  takeIn(waitMs: number): Token {
    const token = this.#first
    this.#backAt[token] = this.#clock.now() + waitMs + this.#options.tokenReuseMs
    this.#first = (token + 1) % this.#backAt.length
    return {
      kind: 'taken',
      waitMs,
      extraWaitMs: () => (this.#arrivedAt[token] as number) + this.#options.tokenReuseMs - this.#clock.now(),
      arrived: () => this.#arrived(token),
    }
  }

  /** Until a token is back while `reserved` others are. */
  #waitMs(reserved: number): number {
    const now = this.#clock.now()
    const index = (this.#first + reserved) % this.#backAt.length
    return Math.max(0, (this.#backAt[this.#first] as number) - now, (this.#backAt[index] as number) - now)
  }

  #arrived(token: number): void {
    const now = this.#clock.now()
    this.#arrivedAt[token] = now
    this.#backAt[token] = Math.max(this.#backAt[token] as number, now + this.#options.tokenReuseMs)
  }
}
