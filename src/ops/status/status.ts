import { getHeapStatistics } from 'node:v8'
import type { CacheResult, Gauges, Observer, UpstreamOutcome } from '../../events.ts'
import { broadcast } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Health } from '../health.ts'
import type { MetricsRecorder } from '../metrics/metrics-recorder.ts'
import { BurnDown } from './burn-down.ts'
import type { Cursor } from './cursor.ts'
import { writeCursor } from './cursor.ts'
import type { RecentError } from './recent-errors.ts'
import { RecentErrors } from './recent-errors.ts'
import { COLUMNS, RequestHistory } from './request-history.ts'
import { RejectionState } from './upstream-rejection.ts'

/** The configured limits that the report shows beside the measured values. */
export interface StatusOptions {
  readonly version: string
  readonly nodeVersion: string
  readonly cache: { readonly ttlMs: number; readonly maxEntries: number; readonly maxBytes: number }
  readonly upstream: {
    readonly quota: { readonly per: 'day' | 'month' } | null
  }
}

export interface StatusDeps {
  readonly gauges: Gauges
  /** Counts lookups and calls since the start. It must get the events, too. */
  readonly recorder: Pick<MetricsRecorder, 'lookups' | 'attempts' | 'clientCalls'>
  readonly health: Pick<Health, 'phase'>
  readonly clock: Pick<Clock, 'now' | 'wall'>
  /** Resident memory of the process in bytes; absent if it cannot be read. */
  readonly residentBytes?: () => number
}

export type StatusReport = ReturnType<Status['report']>

/** Maximum number of failures, and of client errors, in a report; `find` returns older ones as well. */
const MAX_ERRORS_REPORTED = 20

/** The data of the status page: current state, totals since the start, history of the last hour. */
export class Status {
  readonly observer: Partial<Observer>
  readonly #options: StatusOptions
  readonly #deps: StatusDeps
  readonly #startedAt: number
  readonly #history: RequestHistory
  readonly #errors: RecentErrors
  readonly #rejection: RejectionState
  readonly #burnDown: BurnDown | null

  constructor(options: StatusOptions, deps: StatusDeps) {
    const { clock, gauges } = deps
    const { quota } = options.upstream
    this.#options = options
    this.#deps = deps
    this.#startedAt = clock.wall()
    this.#history = new RequestHistory(clock)
    this.#errors = new RecentErrors(clock)
    this.#rejection = new RejectionState(clock)
    this.#burnDown = quota === null ? null : new BurnDown(() => gauges.quota(), quota.per, clock)
    this.observer = broadcast([
      this.#history.observer,
      this.#errors.observer,
      this.#rejection.observer,
      { upstreamAnswered: () => this.#burnDown?.sample() },
    ])
  }

  /** The whole report; of history and errors, only what is newer than the cursor of an earlier report. */
  report(since: Cursor) {
    const { failures, clientErrors } = this.#errors
    const { clock, gauges, health, recorder } = this.#deps
    return {
      version: this.#options.version,
      nodeVersion: this.#options.nodeVersion,
      startedAt: this.#startedAt,
      now: clock.wall(),
      phase: health.phase,
      upstream: this.#upstream(),
      /** Whether Redis is connected; null if it is not configured. */
      sharedTierUp: gauges.sharedCacheUp(),
      totals: {
        ...totalsOf(recorder.lookups.counts, recorder.attempts.counts),
        /** Calls that lookups of each client started; empty without client keys. */
        clients: Object.fromEntries(recorder.clientCalls.counts),
      },
      cache: this.#cache(),
      memory: this.#memory(),
      quota: this.#quota(since),
      history: {
        columns: COLUMNS,
        seconds: this.#history.secondsSince(since.second),
        minutes: this.#history.minutesSince(since.second),
      },
      failures: failures.newest(MAX_ERRORS_REPORTED, since.failure),
      refused: clientErrors.newest(MAX_ERRORS_REPORTED, since.clientError),
      counts: { failures: failures.count, refused: clientErrors.count },
      cursor: writeCursor({
        second: this.#history.second - 1,
        failure: failures.count,
        clientError: clientErrors.count,
      }),
    }
  }

  /** The kept errors with this Tracking-ID, the newest first. */
  find(trackingId: string): RecentError[] {
    return this.#errors.find(trackingId)
  }

  #upstream() {
    return {
      ...this.#deps.gauges.upstream(),
      refusal: this.#rejection.current,
      latency: this.#history.latency(),
    }
  }

  #cache() {
    const { ttlMs, maxEntries, maxBytes } = this.#options.cache
    const effectiveTtlMs = this.#deps.gauges.effectiveTtlMs()
    return { ...this.#deps.gauges.cache(), maxEntries, maxBytes, ttlMs, effectiveTtlMs }
  }

  #memory() {
    const { used_heap_size: heapUsedBytes, heap_size_limit: heapLimitBytes } = getHeapStatistics()
    return { heapUsedBytes, heapLimitBytes, residentBytes: this.#deps.residentBytes?.() ?? null }
  }

  #quota(since: Cursor) {
    const quota = this.#deps.gauges.quota()
    const burnDown = this.#burnDown
    if (quota === null || burnDown === null) return null
    burnDown.sample()
    const { limit, remaining, resetAtMs } = quota
    return {
      limit,
      remaining,
      startedAt: burnDown.startedAtMs,
      resetAt: resetAtMs,
      partMs: burnDown.partMs,
      points: burnDown.points(since.second * 1000),
      projection: burnDown.projection(),
    }
  }
}

/**
 * `heldRatio`: the share of lookups that a cached answer served without waiting, fresh or stale; null without lookups.
 * `callsSaved`: lookups minus calls, because a proxy without a cache makes one call per lookup.
 */
export function totalsOf(
  lookups: ReadonlyMap<CacheResult, number>,
  calls: ReadonlyMap<UpstreamOutcome, number>,
) {
  const of = (result: CacheResult) => lookups.get(result) ?? 0
  const lookupCount = sum(lookups)
  const callCount = sum(calls)
  const cached = of('hit') + of('stale') + of('stale_error')
  return {
    lookups: lookupCount,
    results: Object.fromEntries(lookups),
    calls: callCount,
    outcomes: Object.fromEntries(calls),
    heldRatio: lookupCount === 0 ? null : cached / lookupCount,
    callsSaved: Math.max(0, lookupCount - callCount),
  }
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0)
}
