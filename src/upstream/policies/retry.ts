import type { Availability } from '../../availability/model.ts'
import type { Source } from '../../source.ts'
import type { Clock } from '../../lib/clock.ts'
import { UpstreamError } from '../outcomes.ts'

export interface RetryOptions {
  /** Total time for both attempts and the pause between them, in ms. */
  readonly timeoutMs: number
}

export interface RetryParts {
  readonly clock: Clock
  /** From 0 up to, not including, 1. */
  readonly random: () => number
}

/** The pause before the second attempt lies between these, so that retries of many do not come together. */
const SHORTEST_PAUSE_MS = 20
const LONGEST_PAUSE_MS = 100
/** With less time left a second attempt would only cost a call. */
const LEAST_TIME_MS = 100
/** Retries are a tenth of the calls in the long run, and some more to begin with. */
const BUDGET = 10
const EARNED_PER_CALL = 0.1

/**
 * Tries once more, where that promises something: after a broken connection or a 502, 503, 504, inside the
 * deadline and the budget. The second attempt takes its place and its charge like any other, and never queues.
 */
export function withRetry(inner: Source, { timeoutMs }: RetryOptions, { clock, random }: RetryParts): Source {
  let budget = BUDGET

  return async (id, call) => {
    if (call.isProbe === true) return inner(id, call)
    const startedAt = clock.now()
    budget = Math.min(BUDGET, budget + EARNED_PER_CALL)
    try {
      return await inner(id, call)
    } catch (error) {
      const pauseMs = SHORTEST_PAUSE_MS + random() * (LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS)
      const leftMs = timeoutMs - (clock.now() - startedAt) - pauseMs
      if (!isTransient(error) || leftMs < LEAST_TIME_MS || budget < 1) throw error
      budget--
      await new Promise<void>((resolve) => void clock.after(pauseMs, resolve))
      return await secondAttempt(error, () => inner(id, { ...call, lowPriority: true, timeoutMs: leftMs }))
    }
  }
}

/** A second attempt that was not sent, for want of a place or of budget, says nothing new. */
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
