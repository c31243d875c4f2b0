import type { Clock } from '../../lib/clock.ts'
import type { SentCall } from './sent-call.ts'

export interface TokenBucketOptions {
  /** Tokens in the bucket. */
  readonly count: number
  /** From the use of a token until it can be used again, in ms. */
  readonly tokenReuseMs: number
  /** This many of the tokens are left to calls of normal priority. */
  readonly reserved: number
  /** Tokens can only be used at this time, in ms, and whole multiples of `tokenReuseMs` before and after it. */
  readonly phaseMs?: number
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
  /** The limit that the call is sent under. */
  readonly bucket: TokenBucketOptions
  /** Resolves when the store lets the call pass, or cannot be asked; absent if nothing is shared. */
  readonly pass?: () => Promise<PassedCall>
  /** The call has arrived at upstream. */
  readonly arrived: () => void
}

/** What a store says of a call at the moment of sending. */
export interface PassedCall {
  /** Null if the store could not be asked. */
  readonly sent: SentCall | null
  /** The limit that the call is sent under. */
  readonly bucket: TokenBucketOptions
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

/** Calls per `1 / rate`, of a replica whose share is less than one call per second. */
const SMALL_SHARE_PAUSE = 4

/**
 * The bucket of a replica that has a part of a limit. Its tokens are rounded down, so that those of all replicas do not
 * exceed the limit. Below one call per second each replica sends only at moments of its own, which are random and far
 * apart: replicas that do not know each other would otherwise send their first calls together.
 */
export function bucketForShare(perSecond: number, share: number, random: () => number): TokenBucketOptions {
  if (share === 1) return bucketFor(perSecond)
  const rate = perSecond * share
  if (rate >= 1) return bucketFor(Math.floor(rate + 1e-9))
  const tokenReuseMs = (SMALL_SHARE_PAUSE / rate) * 1_000
  return { count: 1, tokenReuseMs, reserved: 0, phaseMs: random() * tokenReuseMs }
}

/** The bucket of one replica. */
export class LocalTokenBucket implements TokenBucket {
  readonly #options: TokenBucketOptions
  readonly #clock: Pick<Clock, 'now'>
  /** When each token can be used again: a ring that begins at the earliest. */
  readonly #backAt: number[]
  #first = 0

  constructor(options: TokenBucketOptions, clock: Pick<Clock, 'now'>) {
    this.#options = options
    this.#clock = clock
    this.#backAt = Array.from({ length: options.count }, () => Number.NEGATIVE_INFINITY)
  }

  get options(): TokenBucketOptions {
    return this.#options
  }

  /** Until a token can be used, in ms; not before `minMs`. */
  waitMs(lowPriority: boolean, minMs = 0): number {
    return this.#waitMs(lowPriority ? this.#options.reserved : 0, minMs)
  }

  take({ lowPriority, maxWaitMs }: TokenRequest): Token | NoToken {
    const waitMs = this.waitMs(lowPriority)
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
      bucket: this.#options,
      arrived: () => this.#arrived(token),
    }
  }

  /** Takes all tokens for calls in `waitMs`: what was sent before, under another limit, may have been as many. */
  takeAll(waitMs: number): void {
    for (let i = 0; i < this.#backAt.length; i++) this.takeIn(waitMs)
  }

  /** Until a token is back while `reserved` others are. */
  #waitMs(reserved: number, minMs: number): number {
    const now = this.#clock.now()
    const index = (this.#first + reserved) % this.#backAt.length
    const at = Math.max(now + minMs, this.#backAt[this.#first] as number, this.#backAt[index] as number)
    return this.#aligned(at) - now
  }

  #aligned(at: number): number {
    const { phaseMs, tokenReuseMs } = this.#options
    if (phaseMs === undefined) return at
    return Math.ceil((at - phaseMs) / tokenReuseMs) * tokenReuseMs + phaseMs
  }

  #arrived(token: number): void {
    const now = this.#clock.now()
    this.#backAt[token] = Math.max(this.#backAt[token] as number, now + this.#options.tokenReuseMs)
  }
}
