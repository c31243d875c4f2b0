import { getHeapStatistics } from 'node:v8'
import type { Clock } from '../../lib/clock.ts'
import type { CacheResult, Gauges, Observer, UpstreamOutcome } from '../../events.ts'
import { broadcast, CACHE_RESULTS, UPSTREAM_OUTCOMES } from '../../events.ts'
import { BurnDown } from './burn-down.ts'
import { LabelledCounter } from '../metrics/counters.ts'
import type { Cursor } from './cursor.ts'
import { writeCursor } from './cursor.ts'
import type { Failure } from './recent-errors.ts'
import { RecentErrors } from './recent-errors.ts'
import type { Health } from '../health.ts'
import { COLUMNS, RequestHistory } from './request-history.ts'
import { RejectionState } from './upstream-rejection.ts'

/** What is configured, as far as it helps to judge the numbers. */
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
  readonly health: Pick<Health, 'phase'>
  readonly clock: Pick<Clock, 'now' | 'wall'>
  /** Memory that the process takes, in bytes; absent where nobody can tell. */
  readonly residentBytes?: () => number
}

export type StatusReport = ReturnType<Status['report']>

/** So many failures and refusals are told in a report; more are found by their Tracking-ID. */
const TOLD = 20

/** What somebody on call sees first: the state of this moment, totals since the start, the last ten minutes. */
export class Status {
  readonly observer: Partial<Observer>
  readonly #options: StatusOptions
  readonly #parts: StatusDeps
  readonly #startedAt: number
  readonly #history: RequestHistory
  readonly #failures: RecentErrors
  readonly #upstream: RejectionState
  readonly #burnDown: BurnDown | null
  readonly #lookups = new LabelledCounter<CacheResult>(CACHE_RESULTS)
  readonly #calls = new LabelledCounter<UpstreamOutcome>(UPSTREAM_OUTCOMES)

  constructor(options: StatusOptions, parts: StatusDeps) {
    const { clock, gauges } = parts
    const { quota } = options.upstream
    this.#options = options
    this.#parts = parts
    this.#startedAt = clock.wall()
    this.#history = new RequestHistory(clock)
    this.#failures = new RecentErrors(clock)
    this.#upstream = new RejectionState(clock)
    this.#burnDown = quota === null ? null : new BurnDown(() => gauges.quota(), quota.per, clock)
    const totals: Partial<Observer> = {
      lookedUp: (result) => this.#lookups.add(result),
      upstreamAnswered: (outcome) => {
        this.#calls.add(outcome)
        this.#burnDown?.note()
      },
    }
    this.observer = broadcast([
      totals,
      this.#history.observer,
      this.#failures.observer,
      this.#upstream.observer,
    ])
  }

  /** Everything; of what grows with time, only what is newer than the cursor of an earlier report. */
  report(since: Cursor) {
    return {
      version: this.#options.version,
      nodeVersion: this.#options.nodeVersion,
      startedAt: this.#startedAt,
      now: this.#parts.clock.wall(),
      phase: this.#parts.health.phase,
      upstream: this.#upstreamNow(),
      /** Whether the shared tier can be reached; null without one. */
      sharedTierUp: this.#parts.gauges.sharedCacheUp(),
      totals: totalsOf(this.#lookups.counts, this.#calls.counts),
      cache: this.#cacheNow(),
      memory: this.#memoryNow(),
      quota: this.#quotaNow(since),
      history: {
        columns: COLUMNS,
        seconds: this.#history.secondsSince(since.second),
        minutes: this.#history.minutesSince(since.second),
      },
      failures: this.#failures.failed.newest(TOLD, since.failure),
      refused: this.#failures.refused.newest(TOLD, since.refusal),
      counts: { failures: this.#failures.failed.count, refused: this.#failures.refused.count },
      cursor: writeCursor({
        second: this.#history.second - 1,
        failure: this.#failures.failed.count,
        refusal: this.#failures.refused.count,
      }),
    }
  }

  /** What is remembered of requests that failed under this Tracking-ID, the newest first. */
  find(trackingId: string): Failure[] {
    return this.#failures.find(trackingId)
  }

  #upstreamNow() {
    return {
      ...this.#parts.gauges.upstream(),
      refusal: this.#upstream.refusal,
      latency: this.#history.latency(),
    }
  }

  #cacheNow() {
    const { ttlMs, maxEntries, maxBytes } = this.#options.cache
    const effectiveTtlMs = this.#parts.gauges.effectiveTtlMs()
    return { ...this.#parts.gauges.cache(), maxEntries, maxBytes, ttlMs, effectiveTtlMs }
  }

  #memoryNow() {
    const { used_heap_size: heapUsedBytes, heap_size_limit: heapLimitBytes } = getHeapStatistics()
    return { heapUsedBytes, heapLimitBytes, residentBytes: this.#parts.residentBytes?.() ?? null }
  }

  #quotaNow(since: Cursor) {
    const quota = this.#parts.gauges.quota()
    const burnDown = this.#burnDown
    if (quota === null || burnDown === null) return null
    burnDown.note()
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
 * `heldRatio`: the share of lookups that were answered from memory at once; null without lookups.
 * `callsSaved`: calls that a proxy without memory would have made, one a lookup, less those really made.
 */
export function totalsOf(
  lookups: ReadonlyMap<CacheResult, number>,
  calls: ReadonlyMap<UpstreamOutcome, number>,
) {
  const of = (result: CacheResult) => lookups.get(result) ?? 0
  const lookedUp = sum(lookups)
  const called = sum(calls)
  const held = of('hit') + of('stale') + of('stale_error')
  return {
    lookups: lookedUp,
    results: Object.fromEntries(lookups),
    calls: called,
    outcomes: Object.fromEntries(calls),
    heldRatio: lookedUp === 0 ? null : held / lookedUp,
    callsSaved: Math.max(0, lookedUp - called),
  }
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((all, count) => all + count, 0)
}
