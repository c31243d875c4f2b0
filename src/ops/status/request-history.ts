import type { Clock } from '../../lib/clock.ts'
import type { Observer, RequestResult, UpstreamOutcome } from '../../events.ts'
import { bucketOf, LATENCY_BOUNDS_MS, percentile } from './latency-histogram.ts'
import type { Rows } from './rolling-counters.ts'
import { RollingCounters } from './rolling-counters.ts'

/**
 * What became of a request: the cache's results, with what the client itself got wrong (4xx but 429) set apart,
 * whoever noticed it. `other` is what asks for no station: health checks, the description, preflights.
 */
const REQUESTS = [
  'hit',
  'stale',
  'coalesced',
  'miss',
  'stale_error',
  'error',
  'client_error',
  'other',
] as const
type RequestKind = (typeof REQUESTS)[number]

/** What became of a call upstream: any answer about the station, a refusal of our calls, a failure. */
const CALLS = ['answered', 'refused', 'failed'] as const
type CallKind = (typeof CALLS)[number]

/** The numbers of a row, in their order. */
export const COLUMNS: readonly (`requests.${RequestKind}` | `calls.${CallKind}`)[] = [
  ...REQUESTS.map((kind) => `requests.${kind}` as const),
  ...CALLS.map((kind) => `calls.${kind}` as const),
]
/** Behind those, a row counts calls by their latency. */
const WIDTH = COLUMNS.length + LATENCY_BOUNDS_MS.length

export const SECONDS_KEPT = 600
export const MINUTES_KEPT = 60

const CALL_KIND: Record<UpstreamOutcome, CallKind> = {
  ok: 'answered',
  empty: 'answered',
  bad_request: 'answered',
  not_found: 'answered',
  throttled: 'refused',
  refused: 'refused',
  server_error: 'failed',
  invalid: 'failed',
  timeout: 'failed',
  network: 'failed',
}

/**
 * The last ten minutes by the second and the last hour by the minute, in some 160 kB however much happens.
 * Slots are seconds and minutes since the epoch as the wall clock had it at the start; from there on they follow
 * the monotonic clock, so that a wall clock that is set neither tears a hole nor counts a second twice.
 */
export class RequestHistory {
  readonly observer: Partial<Observer>
  readonly #clock: Pick<Clock, 'now'>
  readonly #epochMs: number
  readonly #seconds: RollingCounters
  readonly #minutes: RollingCounters

  constructor(clock: Pick<Clock, 'now' | 'wall'>) {
    this.#clock = clock
    this.#epochMs = clock.wall() - clock.now()
    this.#seconds = new RollingCounters(SECONDS_KEPT, WIDTH, this.second)
    this.#minutes = new RollingCounters(MINUTES_KEPT, WIDTH, Math.floor(this.second / 60))
    this.observer = {
      requestAnswered: (_format, status, result) => {
        this.#advance()
        this.#count(REQUESTS.indexOf(requestKind(status, result)))
      },
      upstreamAnswered: (outcome, seconds) => {
        this.#advance()
        this.#count(REQUESTS.length + CALLS.indexOf(CALL_KIND[outcome]))
        this.#count(COLUMNS.length + bucketOf(seconds * 1000))
      },
    }
  }

  /** The second that is running, since the epoch. */
  get second(): number {
    return Math.floor((this.#epochMs + this.#clock.now()) / 1000)
  }

  /** The seconds that ended after `second`. */
  secondsSince(second: number): Rows {
    this.#advance()
    return this.#seconds.closed(second, COLUMNS.length)
  }

  /** The minutes that were not over yet in `second`; `from` counts minutes since the epoch. */
  minutesSince(second: number): Rows {
    this.#advance()
    return this.#minutes.closed(Math.floor((second + 1) / 60) - 1, COLUMNS.length)
  }

  /** Latency of the calls upstream over the seconds kept, in ms; null without a call. */
  latency(): { readonly calls: number; readonly p50Ms: number | null; readonly p99Ms: number | null } {
    this.#advance()
    const buckets = this.#seconds.sums(COLUMNS.length, WIDTH)
    return {
      calls: buckets.reduce((sum, inBucket) => sum + inBucket, 0),
      p50Ms: percentile(buckets, 0.5),
      p99Ms: percentile(buckets, 0.99),
    }
  }

  #count(column: number): void {
    this.#seconds.count(column)
    this.#minutes.count(column)
  }

  #advance(): void {
    const { second } = this
    this.#seconds.advance(second)
    this.#minutes.advance(Math.floor(second / 60))
  }
}

function requestKind(status: number, result: RequestResult): RequestKind {
  if (isClientError(status)) return 'client_error'
  return result === 'none' ? (status >= 400 ? 'error' : 'other') : result
}

/** Whether a status blames the client; 429 does not, for it tells of our limits and upstream's. */
export function isClientError(status: number): boolean {
  return status >= 400 && status < 500 && status !== 429
}
