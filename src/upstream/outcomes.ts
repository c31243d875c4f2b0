import type { ErrorCode } from '../errors.ts'
import { ServiceError } from '../errors.ts'
import type { UpstreamOutcome } from '../events.ts'

/** What is behind a 401, 403 or 429, as far as its body tells. */
export type RejectionKind = 'over_quota' | 'throttled' | 'bad_key' | 'referer' | 'unclear'

export interface UpstreamErrorOptions {
  readonly reason: string
  readonly cause?: unknown
  /** The status that upstream answered with, if it answered. */
  readonly upstreamStatus?: number
  /** Upstream's own Retry-After, in ms and clamped, if it sent one. */
  readonly retryAfterMs?: number | undefined
  readonly rejection?: RejectionKind
  /** The connection broke after it was made. */
  readonly connectionBroke?: boolean
  /** Upstream is well, though it has no answer for this id. */
  readonly upstreamHealthy?: boolean
  /** Whether upstream can have seen the request; true unless no connection came about. */
  readonly sent?: boolean
}

/** Statuses of the gateway in front of upstream, when it could not reach what is behind it. */
const TRANSIENT_STATUSES: ReadonlySet<number | undefined> = new Set([502, 503, 504])

/** A call that brought no answer. */
export class UpstreamError extends ServiceError {
  readonly outcome: Exclude<UpstreamOutcome, 'ok' | 'empty'>
  readonly upstreamStatus: number | undefined
  readonly rejection: RejectionKind
  readonly sent: boolean
  /** Whether the same call, sent again at once, may well succeed: a broken connection, or a 502, 503, 504. */
  readonly isTransient: boolean
  /** Whether upstream is well all the same: it blames the request, or answers for another id. */
  readonly upstreamHealthy: boolean

  constructor(outcome: UpstreamError['outcome'], options: UpstreamErrorOptions) {
    const { reason, cause, retryAfterMs, upstreamStatus } = options
    super(CODE_OF[outcome], { reason, cause, ...(retryAfterMs !== undefined && { retryAfterMs }) })
    this.name = 'UpstreamError'
    this.outcome = outcome
    this.upstreamStatus = upstreamStatus
    this.rejection = options.rejection ?? 'unclear'
    this.sent = options.sent ?? true
    this.isTransient = options.connectionBroke === true || TRANSIENT_STATUSES.has(upstreamStatus)
    this.upstreamHealthy =
      options.upstreamHealthy ??
      (upstreamStatus !== undefined && upstreamStatus >= 400 && upstreamStatus < 500)
    Object.freeze(this)
  }
}

/** What clients are told of each outcome. A refusal is of our key, so it is never the caller's fault. */
const CODE_OF: Record<UpstreamError['outcome'], ErrorCode> = {
  bad_request: 'InvalidParameter',
  not_found: 'NotFound',
  throttled: 'TooManyRequests',
  refused: 'UpstreamRefused',
  server_error: 'UpstreamFailed',
  invalid: 'UpstreamFailed',
  timeout: 'UpstreamTimeout',
  network: 'UpstreamFailed',
}

/** What an error says of upstream's health: the one predicate that the circuit breaker asks. */
export function circuitOutcome(error: unknown): 'alive' | 'failing' | 'unknown' {
  if (!(error instanceof UpstreamError)) return 'unknown' // it was never sent
  // The gateway speaks, not what is behind it; the cool-down sees to that.
  if (error.outcome === 'throttled' || error.outcome === 'refused') return 'unknown'
  // Else a client that asks for odd ids could open the circuit for everybody.
  return error.upstreamHealthy ? 'alive' : 'failing'
}
