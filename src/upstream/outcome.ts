import { errors } from 'undici'
import { ServiceError } from '../errors.ts'
import type { UpstreamOutcome } from '../observer.ts'
import { UpstreamError } from './upstream-error.ts'

/** What a status other than 200 means; what is not listed is no answer at all. */
export function outcomeOfStatus(status: number): UpstreamOutcome {
  if (status === 400) return 'bad_request'
  if (status === 401 || status === 403) return 'refused'
  if (status === 404) return 'not_found'
  if (status === 429) return 'throttled'
  return status >= 500 ? 'server_error' : 'invalid' // 596 is one of the old gateway's own
}

/** Anything that was thrown during an attempt, as what it means. */
export function upstreamErrorOf(thrown: unknown): UpstreamError {
  if (thrown instanceof UpstreamError) return thrown
  if (thrown instanceof ServiceError) {
    return new UpstreamError('invalid', { reason: thrown.reason ?? thrown.message, cause: thrown.cause })
  }
  const outcome = outcomeOfException(thrown)
  return new UpstreamError(outcome, { reason: REASON_OF[outcome], cause: thrown })
}

const REASON_OF = {
  timeout: 'upstream did not answer in time',
  invalid: 'the body is larger than allowed',
  network: 'the connection failed or broke',
}

function outcomeOfException(thrown: unknown): keyof typeof REASON_OF {
  if (isTimeout(thrown)) return 'timeout'
  return thrown instanceof errors.ResponseExceededMaxSizeError ? 'invalid' : 'network'
}

function isTimeout(thrown: unknown): boolean {
  return (
    thrown instanceof errors.ConnectTimeoutError ||
    thrown instanceof errors.HeadersTimeoutError ||
    thrown instanceof errors.BodyTimeoutError ||
    (thrown instanceof Error && thrown.name === 'TimeoutError')
  )
}
