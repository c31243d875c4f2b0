import type { ErrorCode } from '../errors.ts'
import { ServiceError } from '../errors.ts'
import type { UpstreamOutcome } from '../observer.ts'

export interface UpstreamErrorOptions {
  readonly reason: string
  readonly cause?: unknown
  /** The status that upstream answered with, if it answered. */
  readonly upstreamStatus?: number
  /** Upstream's own Retry-After, in ms and clamped, if it sent one. */
  readonly retryAfterMs?: number | undefined
}

/** Statuses after which a second attempt may do better: the gateway in front of upstream could not reach it. */
const TRANSIENT_STATUSES: ReadonlySet<number | undefined> = new Set([502, 503, 504])

/** A call that was sent and brought no answer. */
export class UpstreamError extends ServiceError {
  readonly outcome: UpstreamOutcome
  /** Whether the same call, sent again at once, may well succeed: a broken connection or a 502, 503, 504. */
  readonly isTransient: boolean

  constructor(outcome: UpstreamOutcome, options: UpstreamErrorOptions) {
    const { reason, cause, retryAfterMs } = options
    super(CODE_OF[outcome], { reason, cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) })
    this.name = 'UpstreamError'
    this.outcome = outcome
    this.isTransient = outcome === 'network' || TRANSIENT_STATUSES.has(options.upstreamStatus)
    Object.freeze(this)
  }
}

/** What clients are told of each outcome. A refusal is of our key, so it is never the caller's fault. */
const CODE_OF: Record<UpstreamOutcome, ErrorCode> = {
  ok: 'InternalError',
  empty: 'InternalError',
  bad_request: 'InvalidParameter',
  not_found: 'NotFound',
  throttled: 'TooManyRequests',
  refused: 'UpstreamRefused',
  server_error: 'UpstreamFailed',
  invalid: 'UpstreamFailed',
  timeout: 'UpstreamTimeout',
  network: 'UpstreamFailed',
}
