import type { Availability } from '../../availability/model.ts'
import type { Clock } from '../../lib/clock.ts'
import { pause } from '../../lib/clock.ts'
import type { Policy } from '../../source.ts'
import { UpstreamError } from '../outcomes.ts'

export interface RetryOptions {
  /** Total time for both attempts and the pause between them, in ms. */
  readonly timeoutMs: number
}

export interface RetryDeps {
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
}

/** Bounds of the pause before the second attempt: random, so that simultaneous failures are not retried together. */
const MIN_PAUSE_MS = 20
const MAX_PAUSE_MS = 100
/** With less time left a second attempt would only cost a call. */
const MIN_TIME_LEFT_MS = 100
/** Retry budget: in the long run a tenth of the calls, and at most this many at once. */
const MAX_RETRIES_SAVED = 10
const RETRIES_EARNED_PER_CALL = 0.1

/**
 * A second attempt where it is likely to succeed: after a broken connection or a 502, 503, 504, within the deadline and
 * the retry budget. It takes a token and is charged like the first, but has low priority: it never queues, although a
 * client may wait for it. A probe is not retried.
 */
export class Retry {
  readonly #timeoutMs: number
  readonly #deps: RetryDeps
  #saved = MAX_RETRIES_SAVED

  constructor({ timeoutMs }: RetryOptions, deps: RetryDeps) {
    this.#timeoutMs = timeoutMs
    this.#deps = deps
  }

  readonly policy: Policy = (next) => async (id, options) => {
    if (options.isProbe === true) return next(id, options)
    const { clock, random } = this.#deps
    const startedAt = clock.now()
    this.#saved = Math.min(MAX_RETRIES_SAVED, this.#saved + RETRIES_EARNED_PER_CALL)
    try {
      return await next(id, options)
    } catch (error) {
      const pauseMs = MIN_PAUSE_MS + random() * (MAX_PAUSE_MS - MIN_PAUSE_MS)
      const leftMs = this.#timeoutMs - (clock.now() - startedAt) - pauseMs
      if (!isTransient(error) || leftMs < MIN_TIME_LEFT_MS || this.#saved < 1) throw error
      this.#saved--
      await pause(clock, pauseMs)
      return await secondAttempt(error, () => next(id, { ...options, lowPriority: true, timeoutMs: leftMs }))
    }
  }
}

/** If the second attempt was not sent, for lack of a token or of quota, the first error explains more. */
async function secondAttempt(
  first: UpstreamError,
  attempt: () => Promise<Availability>,
): Promise<Availability> {
  try {
    return await attempt()
  } catch (second) {
    throw second instanceof UpstreamError ? second : first
  }
}

function isTransient(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && error.isTransient
}
