import type { Observer, RequestResult, UpstreamOutcome } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Latency } from './latency-histogram.ts'
import { LatencyHistogram } from './latency-histogram.ts'
import type { Rows } from './rolling-counters.ts'
import { RollingCounters } from './rolling-counters.ts'

/**
 * The cache's results, and two more kinds. `client_error`: a 4xx other than 429, whether the service or upstream
 * detected it. `other`: requests without a station, such as health checks, the API description and preflights.
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

/** `answered`: any answer about the station; `refused`: rejected or throttled by upstream; `failed`: the rest. */
const CALLS = ['answered', 'refused', 'failed'] as const
type CallKind = (typeof CALLS)[number]

/** The meaning of the numbers of a row, in order. */
export const COLUMNS: readonly (`requests.${RequestKind}` | `calls.${CallKind}`)[] = [
  ...REQUESTS.map((kind) => `requests.${kind}` as const),
  ...CALLS.map((kind) => `calls.${kind}` as const),
]

const columnsFrom = <Kind extends string>(kinds: readonly Kind[], first: number) =>
  Object.fromEntries(kinds.map((kind, i) => [kind, first + i])) as Record<Kind, number>
const REQUEST_COLUMN = columnsFrom(REQUESTS, 0)
const CALL_COLUMN = columnsFrom(CALLS, REQUESTS.length)

export const MAX_SECONDS = 600
export const MAX_MINUTES = 60

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
 * The last ten minutes by the second and the last hour by the minute, in fixed memory. Slots are seconds and minutes
 * since the epoch. Only the start is read from the wall clock; slots then follow the monotonic clock, so that setting
 * the wall clock neither leaves a gap nor counts a second twice.
 */
export class RequestHistory {
  readonly observer: Partial<Observer>
  readonly #clock: Pick<Clock, 'now'>
  readonly #epochMs: number
  readonly #seconds: RollingCounters
  readonly #minutes: RollingCounters
  readonly #latency: LatencyHistogram

  constructor(clock: Pick<Clock, 'now' | 'wall'>) {
    this.#clock = clock
    this.#epochMs = clock.wall() - clock.now()
    this.#seconds = new RollingCounters(MAX_SECONDS, COLUMNS.length, this.second)
    this.#minutes = new RollingCounters(MAX_MINUTES, COLUMNS.length, this.#minute)
    this.#latency = new LatencyHistogram(this.#minute)
    this.observer = {
      requestAnswered: (_format, status, result) => this.#count(REQUEST_COLUMN[requestKind(status, result)]),
      upstreamAnswered: (outcome, seconds) => {
        this.#count(CALL_COLUMN[CALL_KIND[outcome]])
        this.#latency.record(this.#minute, seconds * 1_000)
      },
    }
  }

  /** The current second, since the epoch. */
  get second(): number {
    return Math.floor((this.#epochMs + this.#clock.now()) / 1_000)
  }

  get #minute(): number {
    return Math.floor(this.second / 60)
  }

  /** The seconds that ended after `second`. */
  secondsSince(second: number): Rows {
    this.#advance()
    return this.#seconds.completed(second)
  }

  /** The minutes that ended after `second`; `from` counts minutes since the epoch. */
  minutesSince(second: number): Rows {
    this.#advance()
    return this.#minutes.completed(Math.floor((second + 1) / 60) - 1)
  }

  /** Latency of the calls to upstream in the last ten minutes. */
  latency(): Latency {
    return this.#latency.read(this.#minute)
  }

  #count(column: number): void {
    this.#advance()
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

/** A 4xx other than 429: a 429 is caused by the limits of this service or of upstream. */
export function isClientError(status: number): boolean {
  return status >= 400 && status < 500 && status !== 429
}
