import type { Observer, RequestFailure } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import { copyString } from '../../lib/copy-string.ts'
import { RingBuffer } from '../../lib/ring-buffer.ts'
import { isClientError } from './request-history.ts'
import { truncated } from './truncated.ts'

/** A request that ended in an error response. */
export interface RecentError {
  /** Its position in its list, from 1. */
  readonly number: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly trackingId: string
  readonly traceId: string | null
  /** Null if the request had no valid id. */
  readonly station: string | null
  readonly code: string
  readonly status: number
  readonly reason: string | null
  readonly cause: string | null
}

export const MAX_FAILURES = 1_000
export const MAX_CLIENT_ERRORS = 200

/** The latest requests with an error response, in two lists, so that client errors do not displace failures. */
export class RecentErrors {
  /** Status 429 and 5xx. */
  readonly failures = new RingBuffer<RecentError>(MAX_FAILURES)
  /** Every other 4xx. */
  readonly clientErrors = new RingBuffer<RecentError>(MAX_CLIENT_ERRORS)
  readonly observer: Partial<Observer>

  constructor(clock: Pick<Clock, 'wall'>) {
    this.observer = {
      requestFailed: (failure) => {
        const list = isClientError(failure.status) ? this.clientErrors : this.failures
        list.push(errorOf(failure, list.count + 1, clock.wall()))
      },
    }
  }

  /** The errors with this Tracking-ID, the newest first. A client may use one ID for many requests. */
  find(trackingId: string): RecentError[] {
    return [...this.failures.newest(), ...this.clientErrors.newest()]
      .filter((error) => error.trackingId === trackingId)
      .toSorted((a, b) => b.at - a.at)
  }
}

function errorOf(failure: RequestFailure, number: number, at: number): RecentError {
  const { trackingId, traceId, station, code, status, reason, cause } = failure
  return {
    number,
    at,
    trackingId: copyString(trackingId),
    traceId: truncated(traceId),
    station: truncated(station),
    code,
    status,
    reason: truncated(reason),
    cause: cause instanceof Error ? truncated(cause.message) : null,
  }
}
