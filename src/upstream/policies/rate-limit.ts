import type { Availability } from '../../availability/model.ts'
import { ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import { pause } from '../../lib/clock.ts'
import type { LoadOptions, Policy } from '../../source.ts'
import type { SendGate } from '../state/send-gate.ts'
import type { SentCall } from '../state/sent-call.ts'
import type { Token, TokenBucket } from '../state/token-bucket.ts'
import { MARGIN_MS } from '../state/token-bucket.ts'

export interface RateLimitOptions {
  /** Longest wait for a token, in ms. */
  readonly queueTimeoutMs: number
}

export interface RateLimitDeps {
  /** Null without a limit. */
  readonly limit: { readonly tokens: TokenBucket; readonly gate: SendGate } | null
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'upstreamHeldBack'>
}

/**
 * A call has arrived when it is answered, or this long after it was sent: the first call of a connection waits for the
 * handshake.
 */
const MAX_TRANSIT_MS = 100
const MIN_RETRY_AFTER_MS = 1_000
/** Times have fractions: a wait that is as long as allowed can be computed as 1e-13 ms longer. */
const ROUNDING_MS = 1e-3

const TOKEN = Symbol('token')
/** As `policy` passes them to `send`. */
type OptionsWithToken = LoadOptions & { readonly [TOKEN]: Token & { readonly onSend: () => void } }

/**
 * Sends a call only with a token. How long a call must queue is known when it asks, so one that would wait too long
 * fails at once. A call of low priority never queues, and leaves the reserve to the others. The limit is checked again
 * at the moment of sending.
 */
export class RateLimit {
  readonly #options: RateLimitOptions
  readonly #deps: RateLimitDeps
  #queued = 0
  /** Calls with a token that are not sent yet. */
  #unsent = 0

  constructor(options: RateLimitOptions, deps: RateLimitDeps) {
    this.#options = options
    this.#deps = deps
  }

  /** Calls that wait for their token, or for their turn to be sent. */
  get queued(): number {
    return this.#queued
  }

  readonly policy: Policy = (next) => {
    const { limit } = this.#deps
    if (limit === null) return next
    return async (id, options) => {
      const request = this.#requestFor(options)
      const taking = limit.tokens.take(request)
      const token = taking instanceof Promise ? await taking : taking
      if (token.kind === 'none') throw this.#heldBack(token.waitMs)
      // Tokens are planned: this bounds the calls of plans that did not hold.
      const gateMs = limit.gate.waitMs(token.bucket, this.#unsent)
      if (gateMs > request.maxWaitMs + token.bucket.tokenReuseMs) throw this.#heldBack(gateMs)
      this.#unsent++
      const onSend = once(() => this.#unsent--)
      try {
        if (token.waitMs > 0) await this.#queue(pause(this.#deps.clock, token.waitMs))
        return await next(id, { ...options, [TOKEN]: { ...token, onSend } } as OptionsWithToken)
      } finally {
        onSend()
      }
    }
  }

  #heldBack(waitMs: number): ServiceError {
    this.#deps.observer.upstreamHeldBack('rate')
    return tooManyCalls(waitMs)
  }

  /** The innermost policy: delays what would be sent too early. */
  readonly send: Policy = (next) => {
    const { limit } = this.#deps
    if (limit === null) return next
    return async (id, options) => {
      const { [TOKEN]: token } = options as Partial<OptionsWithToken>
      if (token === undefined) return next(id, options) // taken while there was no limit
      const { pass } = token
      let passed = pass && (await this.#queue(pass()))
      const renew = pass && (async () => (passed = await pass()).bucket)
      const passing = limit.gate.pass(passed?.bucket ?? token.bucket, renew)
      const sent = passing instanceof Promise ? await this.#queue(passing) : passing
      token.onSend()
      const arriving = [token, sent, passed?.sent ?? null].filter((one) => one !== null)
      return this.#trackArrival(arriving, () => next(id, options))
    }
  }

  #requestFor({ lowPriority }: LoadOptions) {
    const { queueTimeoutMs } = this.#options
    return { lowPriority, maxWaitMs: lowPriority ? 0 : queueTimeoutMs + MARGIN_MS + ROUNDING_MS }
  }

  async #queue<T>(turn: Promise<T>): Promise<T> {
    this.#queued++
    try {
      return await turn
    } finally {
      this.#queued--
    }
  }

  /** Reports the arrival once. */
  async #trackArrival(
    listeners: readonly SentCall[],
    call: () => Promise<Availability>,
  ): Promise<Availability> {
    const report = once(() => {
      for (const { arrived } of listeners) arrived()
    })
    const cancel = this.#deps.clock.after(MAX_TRANSIT_MS, report)
    try {
      return await call()
    } finally {
      cancel()
      report()
    }
  }
}

function once(action: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) action()
    isDone = true
  }
}

function tooManyCalls(waitMs: number): ServiceError {
  return new ServiceError('TooManyRequests', {
    reason: 'the limit of calls per second leaves no slot in the queue',
    retryAfterMs: Math.max(MIN_RETRY_AFTER_MS, waitMs),
  })
}
