import { getHeapStatistics } from 'node:v8'
import type { CacheResult, Observer, UpstreamOutcome } from '../../events.ts'
import { CLIENT_LEFT } from '../../events.ts'
import type { Gauges } from '../../gauges.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Health } from '../health.ts'
import type { MetricsRecorder } from '../metrics/metrics-recorder.ts'
import { BurnDown } from './burn-down.ts'
import type { Cursor } from './cursor.ts'
import { writeCursor } from './cursor.ts'
import type { RecentError } from './recent-errors.ts'
import { RecentErrors } from './recent-errors.ts'
import { ErrorSummary } from './error-summary.ts'
import { OutageState } from './outage.ts'
import { MAX_CHANGES, StateChanges } from './state-changes.ts'
import { COLUMNS, RequestHistory } from './request-history.ts'
import { SettingsState } from './settings-state.ts'
import { CallsByStation } from './station-calls.ts'
import { RejectionState } from './upstream-rejection.ts'

/** The configured limits that the report shows beside the measured values. */
export interface StatusOptions {
  readonly version: string
  readonly nodeVersion: string
  /** Which replica this is; null if unknown. */
  readonly instance: string | null
  /** The settings in force, secrets masked. */
  readonly settings: Readonly<Record<string, string>>
  readonly cache: {
    readonly ttlMs: number
    readonly staleIfErrorMs: number
    readonly maxEntries: number
    readonly maxBytes: number
  }
  readonly upstream: {
    readonly quota: { readonly per: 'day' | 'month' } | null
  }
}

export interface StatusDeps {
  readonly gauges: Gauges
  /** Counts lookups and calls since the start. It must get the events, too. */
  readonly recorder: Pick<MetricsRecorder, 'lookups' | 'attempts' | 'requests' | 'clientCalls' | 'events'>
  readonly health: Pick<Health, 'phase'>
  readonly clock: Pick<Clock, 'now' | 'wall'>
  /** Resident memory of the process in bytes; absent if it cannot be read. */
  readonly residentBytes?: () => number
}

export type StatusReport = ReturnType<Status['report']>

/** Maximum number of failures, and of client errors, in a report; `find` returns older ones as well. */
const MAX_ERRORS_REPORTED = 20
const MAX_SENDERS_REPORTED = 10
const MAX_STATIONS_REPORTED = 10

/** The data of the status page: current state, totals since the start, history of the last hour. */
export class Status {
  readonly observers: readonly Partial<Observer>[]
  readonly #options: StatusOptions
  readonly #deps: StatusDeps
  readonly #startedAt: number
  readonly #history: RequestHistory
  readonly #errors: RecentErrors
  readonly #summary: ErrorSummary
  readonly #changes: StateChanges
  readonly #outage: OutageState
  readonly #rejection: RejectionState
  readonly #settings: SettingsState
  readonly #callsByStation: CallsByStation
  #burnDown: { readonly per: 'day' | 'month'; readonly plot: BurnDown } | null = null

  constructor(options: StatusOptions, deps: StatusDeps) {
    const { clock } = deps
    this.#options = options
    this.#deps = deps
    this.#startedAt = clock.wall()
    this.#history = new RequestHistory(clock)
    this.#errors = new RecentErrors(clock)
    this.#summary = new ErrorSummary(clock)
    this.#changes = new StateChanges(clock)
    this.#outage = new OutageState(clock)
    this.#rejection = new RejectionState(clock)
    this.#settings = new SettingsState(options.settings, clock)
    this.#callsByStation = new CallsByStation(clock)
    this.observers = [
      this.#history.observer,
      this.#errors.observer,
      this.#summary.observer,
      this.#changes.observer,
      this.#outage.observer,
      this.#rejection.observer,
      this.#settings.observer,
      this.#callsByStation.observer,
      { upstreamAnswered: () => this.#currentBurnDown()?.sample() },
    ]
  }

  /** The whole report; of history and errors, only what is newer than the cursor of an earlier report. */
  report(since: Cursor) {
    const { failures, clientErrors } = this.#errors
    const { changes } = this.#changes
    const { clock, gauges, health, recorder } = this.#deps
    return {
      version: this.#options.version,
      nodeVersion: this.#options.nodeVersion,
      instance: this.#options.instance,
      startedAt: this.#startedAt,
      now: clock.wall(),
      phase: health.phase,
      upstream: this.#upstream(),
      /** Whether Redis is connected or the state directory works; null if neither is configured. */
      sharedTierUp: gauges.sharedCacheUp(),
      /** Stations whose purge waits for the shared cache, or `all`; they are purged in this process. */
      pendingPurges: gauges.pendingPurges(),
      /** Streams and long polls that are open, watched stations, and the events sent since the start. */
      live: { ...gauges.live(), events: Object.fromEntries(recorder.events.counts) },
      totals: {
        ...totalsOf(recorder.lookups.counts, recorder.attempts.counts),
        /** Calls that lookups of each client started; empty without client keys. */
        clients: Object.fromEntries(recorder.clientCalls.counts),
      },
      /** Which stations cost most calls today (UTC). */
      costliestStations: this.#callsByStation.most(MAX_STATIONS_REPORTED),
      abandoned: abandonedOf(recorder),
      cache: this.#cache(),
      memory: this.#memory(),
      quota: this.#quota(since),
      settings: this.#settings.current,
      history: {
        columns: COLUMNS,
        seconds: this.#history.secondsSince(since.second),
        minutes: this.#history.minutesSince(since.second),
      },
      failures: failures.newest(MAX_ERRORS_REPORTED, since.failure),
      refused: clientErrors.newest(MAX_ERRORS_REPORTED, since.clientError),
      counts: { failures: failures.count, refused: clientErrors.count },
      errorGroups: this.#summary.groups(),
      errorSenders: this.#summary.senders(MAX_SENDERS_REPORTED),
      changes: changes.newest(MAX_CHANGES, since.change),
      cursor: writeCursor({
        second: this.#history.second - 1,
        failure: failures.count,
        clientError: clientErrors.count,
        change: changes.count,
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
      outage: this.#outage.current,
      refusal: this.#rejection.current,
      staleUntil: this.#staleUntil(),
      latency: this.#history.latency(),
    }
  }

  /**
   * When the last stale answers expire, if upstream brings none until then; null while it does. No answer was received
   * after the outage or the rejection began.
   */
  #staleUntil(): number | null {
    const since = this.#outage.current?.since ?? this.#rejection.current?.since
    const { staleIfErrorMs } = this.#options.cache
    return since === undefined ? null : since + this.#deps.gauges.effectiveTtlMs() + staleIfErrorMs
  }

  #cache() {
    const { ttlMs, maxEntries, maxBytes } = this.#options.cache
    const effectiveTtlMs = this.#deps.gauges.effectiveTtlMs()
    return { ...this.#deps.gauges.cache(), maxEntries, maxBytes, ttlMs, effectiveTtlMs }
  }

  #memory() {
    const { used_heap_size: heapUsedBytes, heap_size_limit: heapLimitBytes } = getHeapStatistics()
    const waiting = this.#deps.gauges.waiting()
    return { heapUsedBytes, heapLimitBytes, residentBytes: this.#deps.residentBytes?.() ?? null, waiting }
  }

  /** Another one if the period of the quota has changed; null without a quota. */
  #currentBurnDown(): BurnDown | null {
    const { quota } = this.#options.upstream
    const { gauges, clock } = this.#deps
    if (quota === null) this.#burnDown = null
    else if (this.#burnDown?.per !== quota.per) {
      this.#burnDown = { per: quota.per, plot: new BurnDown(() => gauges.quota(), quota.per, clock) }
    }
    return this.#burnDown?.plot ?? null
  }

  #quota(since: Cursor) {
    const quota = this.#deps.gauges.quota()
    const burnDown = this.#currentBurnDown()
    if (quota === null || burnDown === null) return null
    burnDown.sample()
    const { limit, remaining, resetAtMs } = quota
    const forecast = this.#deps.gauges.pacing()
    return {
      limit,
      remaining,
      startedAt: burnDown.startedAtMs,
      resetAt: resetAtMs,
      partMs: burnDown.partMs,
      points: burnDown.points(since.second * 1000),
      projection: burnDown.projection(forecast),
      forecast,
    }
  }
}

/**
 * `heldRatio`: the share of lookups that a cached answer served without waiting, fresh or stale; null without lookups.
 * `callsSaved`: answered lookups minus calls, because a proxy without a cache makes one call per lookup. An error saves
 * nothing.
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
    callsSaved: Math.max(0, lookupCount - of('error') - callCount),
  }
}

/** Requests whose client disconnected before the response (status 499). */
function abandonedOf({ requests }: Pick<MetricsRecorder, 'requests'>): number {
  return [...requests.values()].reduce((total, counter) => total + counter.of(CLIENT_LEFT), 0)
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0)
}
