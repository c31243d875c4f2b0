import type { ErrorCode, ServiceError } from '../errors.ts'
import { UnknownIdError } from '../errors.ts'
import { backoffMs } from '../lib/backoff.ts'

/** As long as the back-off of the cache, which answers earlier attempts without a call. */
const MIN_BACK_OFF_MS = 1_000
const MAX_BACK_OFF_MS = 10_000
/** An id that is asked for again a minute after it was held back as unknown may get a call. */
const UNKNOWN_ID_RETRY_MS = 61_000

const OF_ALL_STATIONS: ReadonlySet<ErrorCode> = new Set([
  'TooManyRequests',
  'UpstreamUnavailable',
  'QuotaExhausted',
  'UpstreamRefused',
])

/** Whether an error of a refresh is no fault of its station: the next one would get the same. */
export function concernsAllStations(error: ServiceError): boolean {
  return OF_ALL_STATIONS.has(error.code) && !(error instanceof UnknownIdError)
}

/** A longer wait is a cool-down: upstream has rejected a call. */
const MAX_QUEUE_MS = 3_000

/** Whether a refresh was probably rejected because others come first in the queue of the rate limit. */
export function mayBeOfQueue({ code, retryAfterMs = 0 }: ServiceError): boolean {
  return code === 'TooManyRequests' && retryAfterMs <= MAX_QUEUE_MS
}

export interface FailedRefresh {
  /** Failed refreshes of the station in a row. */
  readonly failures: number
  /** Whether the station has an answer that may be served. */
  readonly hasAnswer: boolean
}

/** After an error of its own, the time in ms until the station is refreshed again. */
export function retryInMs(
  error: ServiceError,
  { failures, hasAnswer }: FailedRefresh,
  { ttlMs, emptyTtlMs }: { readonly ttlMs: number; readonly emptyTtlMs: number },
): number {
  if (error instanceof UnknownIdError) return UNKNOWN_ID_RETRY_MS
  const waitMs = backoffMs(MIN_BACK_OFF_MS, MAX_BACK_OFF_MS, failures)
  const isNegative = error.status < 500
  return Math.max(waitMs, isNegative ? emptyTtlMs : 0, hasAnswer ? ttlMs : 0)
}
