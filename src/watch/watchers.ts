import type { Cache } from '../cache/cache.ts'
import type { ServiceError } from '../errors.ts'
import { asServiceError, ClientQuotaError } from '../errors.ts'
import type { StoredAnswer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import { concernsAllStations, mayBeOfQueue, retryInMs } from './refresh-error.ts'
import { Progress } from './progress.ts'
import { RefreshInterval } from './refresh-interval.ts'
import { RefreshQueue } from './refresh-queue.ts'
import type { CurrentAnswer, Watcher } from './watcher.ts'

export interface WatchersOptions {
  /** CACHE_TTL: no station is refreshed more often. */
  readonly ttlMs: number
  /** Time after which a station that upstream rejects (400, 404) is asked again. */
  readonly emptyTtlMs: number
}

export interface WatchersDeps {
  readonly cache: Pick<Cache, 'peek' | 'refresh'>
  readonly clock: Pick<Clock, 'now' | 'after'>
  /** While true, only stations without an answer are loaded: the circuit is open, or the quota is rationed. */
  readonly isPaused: () => boolean
}

interface Station {
  readonly id: string
  readonly watchers: Set<Watcher>
  isBackground: boolean
  readonly interval: RefreshInterval
  cancel: (() => void) | null
  /** When the last refresh began. */
  refreshedAt: number
  /** Failed refreshes in a row. */
  failures: number
  /** Of the last refresh. */
  error: ServiceError | null
}

/** Refreshes in flight at once: few, as they are to yield to the calls of clients. */
const MAX_ACTIVE = 8
/** How long the refreshes pause after an error that concerns all stations, at least and at most. */
const MIN_PAUSE_MS = 250
const MAX_PAUSE_MS = 60_000
/** How often a pause of the circuit breaker or the quota is checked. */
const PAUSED_CHECK_MS = 2_000
/** How often it is checked whether a refresh is due: under a quota the TTLs in force change meanwhile. */
const CHECK_DUE_EVERY_MS = 60_000

/**
 * Keeps watched stations fresh: each is refreshed when its answer is due, however many watch it, with low priority. An
 * answer that a client's request brings counts as a refresh. A station leaves with its last watcher.
 */
export class Watchers {
  readonly #options: WatchersOptions
  readonly #deps: WatchersDeps
  readonly #stations = new Map<string, Station>()
  readonly #queue = new RefreshQueue<Station>()
  #active = 0
  #cancelPause: (() => void) | null = null
  /** The error that the pause is for, if it is one of stations without an answer. */
  #pausedBy: ServiceError | null = null
  readonly #progress: Progress

  constructor(options: WatchersOptions, deps: WatchersDeps) {
    this.#options = options
    this.#deps = deps
    this.#progress = new Progress(deps.clock)
  }

  /** The number of watched stations. */
  get stations(): number {
    return this.#stations.size
  }

  /** Watches a station until the returned function is called. A known error is passed on at once. */
  watch(id: string, watcher: Watcher): () => void {
    let station = this.#stations.get(id)
    if (station === undefined) {
      const state = { cancel: null, refreshedAt: Number.NEGATIVE_INFINITY, failures: 0, error: null }
      station = { id, watchers: new Set(), isBackground: true, interval: new RefreshInterval(), ...state }
      this.#stations.set(id, station)
      this.#schedule(station)
    }
    station.watchers.add(watcher)
    if (watcher.isBackground !== true && station.isBackground) this.#promote(station)
    if (this.current(id) === null) {
      if (station.error !== null) watcher.failed(station.error)
      else if (station.cancel !== null) this.#schedule(station) // it was purged, or a lookup found it rejected
    }
    return () => this.#leave(id, watcher)
  }

  /** The station's answer if it may be served, stale or not. */
  current(id: string): CurrentAnswer | null {
    const entry = this.#deps.cache.peek(id, this.#stations.get(id)?.error)
    return entry?.mayBeServed === true ? entry : null
  }

  /** For the event of the cache. */
  readonly stored = ({ id, change, sinceMs }: StoredAnswer): void => {
    const station = this.#stations.get(id)
    this.#progress.answered()
    if (station === undefined) return
    if (change !== 'first') station.interval.observe(sinceMs, change === 'different')
    station.failures = 0
    station.error = null
    this.#schedule(station)
    const current = this.current(id)
    if (current !== null) for (const watcher of station.watchers) watcher.answered(current)
  }

  /** For a purge: of this station, or of all (null). Their next refresh is due at once. */
  readonly purged = (id: string | null): void => {
    const one = id === null ? undefined : this.#stations.get(id)
    const purged = id === null ? this.#stations.values() : one === undefined ? [] : [one]
    for (const station of purged) this.#schedule(station)
  }

  readonly isWatched = (id: string): boolean => this.#stations.has(id)

  #leave(id: string, watcher: Watcher): void {
    const station = this.#stations.get(id)
    station?.watchers.delete(watcher)
    if (station === undefined) return
    station.isBackground = isInBackground(station.watchers)
    if (station.watchers.size > 0) return
    station.cancel?.()
    this.#queue.delete(station)
    this.#stations.delete(id)
  }

  #schedule(station: Station, minDelayMs = 0): void {
    station.cancel?.()
    this.#queue.delete(station)
    const now = this.#deps.clock.now()
    const notBefore = now + minDelayMs
    this.#wait(station, notBefore, Math.max(notBefore, now + this.#dueInMs(station)))
  }

  /** Waits until the refresh is due. An answer that is evicted meanwhile is replaced when it would have been. */
  #wait(station: Station, notBefore: number, dueAt: number): void {
    const { clock } = this.#deps
    station.cancel = clock.after(Math.min(dueAt - clock.now(), CHECK_DUE_EVERY_MS), () => {
      const now = clock.now()
      const isCold = this.current(station.id) === null
      const next = isCold ? dueAt : Math.max(notBefore, now + this.#dueInMs(station))
      if (next > now) return this.#wait(station, notBefore, next)
      station.cancel = null
      this.#enqueue(station)
      if (this.#pausedBy !== null && this.#queue.isCold(station)) this.#report(station, this.#pausedBy)
      this.#pump()
    })
  }

  #dueInMs(station: Station): number {
    const current = this.current(station.id)
    if (current === null) return 0
    const { ttlMs } = this.#options
    const intervalMs = station.interval.ms(Math.max(ttlMs, current.ageMs + current.ttlMs))
    return Math.max(0, intervalMs - current.ageMs, station.refreshedAt + ttlMs - this.#deps.clock.now())
  }

  #enqueue(station: Station): void {
    this.#queue.add(station, this.current(station.id) === null)
  }

  /** A client watches it from now on. */
  #promote(station: Station): void {
    station.isBackground = false
    if (this.#queue.delete(station)) this.#enqueue(station)
  }

  #pump(): void {
    if (this.#cancelPause !== null) return
    const isPaused = this.#queue.hasDue && this.#deps.isPaused()
    while (this.#active < MAX_ACTIVE) {
      const station = this.#queue.take(isPaused)
      if (station === undefined) break
      void this.#refresh(station)
    }
    if (isPaused) this.#pause(PAUSED_CHECK_MS)
  }

  /** Stops refreshing for a while; then answers that have become too old count as none. */
  #pause(ms: number): void {
    if (this.#cancelPause !== null) return
    this.#cancelPause = this.#deps.clock.after(ms, () => {
      this.#cancelPause = null
      this.#pausedBy = null
      for (const station of this.#queue.takeDue()) this.#enqueue(station)
      this.#pump()
    })
  }

  async #refresh(station: Station): Promise<void> {
    this.#active++
    station.refreshedAt = this.#deps.clock.now()
    try {
      await this.#deps.cache.refresh(station.id)
      this.#progress.refreshed()
      if (this.#isCurrent(station)) this.#schedule(station, this.#options.ttlMs)
    } catch (error) {
      if (this.#isCurrent(station)) this.#fail(station, asServiceError(error))
    } finally {
      this.#active--
      this.#pump()
    }
  }

  #isCurrent(station: Station): boolean {
    return this.#stations.get(station.id) === station
  }

  #fail(station: Station, error: ServiceError): void {
    if (error instanceof ClientQuotaError) return this.#enqueue(station) // the joined call of a client, now over
    if (concernsAllStations(error)) {
      this.#enqueue(station)
      this.#pause(Math.min(Math.max(error.retryAfterMs ?? 0, MIN_PAUSE_MS), MAX_PAUSE_MS))
      const isProgressing = this.#active > 1 || this.#progress.isRecent
      if (isProgressing && mayBeOfQueue(error)) return // no error of a station while others are answered
      this.#pausedBy = error
      for (const cold of this.#queue.cold) this.#report(cold, error)
      return
    }
    station.failures++
    this.#report(station, error)
    const hasAnswer = this.current(station.id) !== null
    this.#schedule(station, retryInMs(error, { failures: station.failures, hasAnswer }, this.#options))
  }

  /** Passes the error on, or the answer that a lookup gets in its place. */
  #report(station: Station, error: ServiceError): void {
    const known = this.current(station.id)
    station.error = error
    const current = this.current(station.id)
    for (const watcher of station.watchers) {
      if (current === null) watcher.failed(error)
      else if (known === null) watcher.answered(current)
    }
  }
}

function isInBackground(watchers: ReadonlySet<Watcher>): boolean {
  for (const { isBackground } of watchers) if (isBackground !== true) return false
  return true
}
