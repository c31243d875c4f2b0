import type { Availability } from '../../availability/model.ts'
import { ServiceError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'
import type { LoadOptions, Policy } from '../../source.ts'
import type { Token, TokenBucket } from '../state/token-bucket.ts'
import { MARGIN_MS } from '../state/token-bucket.ts'

export interface RateLimitOptions {
  /** Longest wait for a token, in ms. */
  readonly queueTimeoutMs: number
}

export interface RateLimitDeps {
  /** Null without a limit. */
  readonly tokens: TokenBucket | null
  readonly clock: Pick<Clock, 'after'>
}

/**
 * A call has arrived when it is answered, or this long after it was sent: the first call of a connection waits for the
 * handshake.
 */
const MAX_TRANSIT_MS = 100
const MIN_RETRY_AFTER_MS = 1_000

/**
 * Sends a call only with a token. How long a call must queue is known when it asks, so one that would wait too long
 * fails at once. A call of low priority never queues, and leaves the reserve to the others.
 */
export class RateLimit {
  readonly #options: RateLimitOptions
  readonly #deps: RateLimitDeps
  #queued = 0

  constructor(options: RateLimitOptions, deps: RateLimitDeps) {
    this.#options = options
    this.#deps = deps
  }

  /** Calls that wait for their token. */
  get queued(): number {
    return this.#queued
  }

  readonly policy: Policy = (next) => {
    const { tokens } = this.#deps
    if (tokens === null) return next
    return async (id, options) => {
      const taking = tokens.take(this.#requestFor(options))
      const token = taking instanceof Promise ? await taking : taking
      if (token.kind === 'none') throw tooManyCalls(token.waitMs)
      if (token.waitMs > 0) await this.#queue(token)
      return this.#trackArrival(token, () => next(id, options))
    }
  }

  #requestFor({ lowPriority }: LoadOptions) {
    return { lowPriority, maxWaitMs: lowPriority ? 0 : this.#options.queueTimeoutMs + MARGIN_MS }
  }

  async #queue({ waitMs, extraWaitMs }: Token): Promise<void> {
    this.#queued++
    for (let ms = waitMs; ms > 0; ms = extraWaitMs()) {
      await new Promise<void>((resolve) => void this.#deps.clock.after(ms, resolve))
    }
    this.#queued--
  }

  /** Reports the arrival once. */
  async #trackArrival({ arrived }: Token, call: () => Promise<Availability>): Promise<Availability> {
    let hasArrived = false
    const report = () => {
      if (!hasArrived) arrived()
      hasArrived = true
    }
    const cancel = this.#deps.clock.after(MAX_TRANSIT_MS, report)
    try {
      return await call()
    } finally {
      cancel()
      report()
    }
  }
}

function tooManyCalls(waitMs: number): ServiceError {
  return new ServiceError('TooManyRequests', {
    reason: 'the limit of calls per second leaves no slot in the queue',
    retryAfterMs: Math.max(MIN_RETRY_AFTER_MS, waitMs),
  })
}
