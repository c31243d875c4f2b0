import type { QuotaStack } from './app-quota.ts'
import type { EntryStore } from './cache/entry-store.ts'
import type { Config } from './config/load.ts'
import type { Observer, QuotaShortfall } from './events.ts'
import type { Clock } from './lib/clock.ts'
import { periodMs } from './upstream/state/quota-period.ts'

export interface QuotaCheckDeps {
  /** The settings in force. */
  readonly config: Config
  readonly clock: Pick<Clock, 'now' | 'wall' | 'after'>
  readonly observer: Pick<Observer, 'quotaTooSmall'>
  readonly store: Pick<EntryStore, 'recent' | 'stations'>
  readonly quota: () => Pick<QuotaStack, 'ledger'> | null
}

const CHECK_EVERY_MS = 60_000

/**
 * Whether the quota is too small for the stations in use, even if each is called only once per CACHE_MAX_TTL. In use is a
 * station that was asked for within CACHE_MAX_TTL.
 */
export class QuotaCheck {
  readonly #deps: QuotaCheckDeps
  #shortfall: QuotaShortfall | null = null
  #cancel: () => void = () => {}

  constructor(deps: QuotaCheckDeps) {
    this.#deps = deps
  }

  /** As of the last check; null if the quota suffices. */
  get shortfall(): QuotaShortfall | null {
    return this.#shortfall
  }

  /** Checks now and every minute, and reports when the quota has become too small. Again after a change of settings. */
  start(): void {
    this.#cancel()
    const before = this.#shortfall
    this.#shortfall = this.#check()
    if (before === null && this.#shortfall !== null) this.#deps.observer.quotaTooSmall(this.#shortfall)
    this.#cancel = this.#deps.clock.after(CHECK_EVERY_MS, () => this.start())
  }

  stop(): void {
    this.#cancel()
  }

  #check(): QuotaShortfall | null {
    const { config, store, quota } = this.#deps
    const ledger = quota()?.ledger
    const { ttlMs, maxTtlMs } = config.cache
    if (ledger === undefined || ttlMs === 0) return null
    const { limit, per, resetAtMs } = ledger
    const longestMs = Math.max(ttlMs, maxTtlMs)
    const lengthMs = periodMs(per, resetAtMs)
    const callsFor = (stations: number) => Math.ceil((stations * lengthMs) / longestMs)
    // Stations are counted only where there may be too many: it takes 10 ms for 100,000.
    if (callsFor(store.stations) <= limit) return null
    const stations = this.#stationsUsedWithin(longestMs)
    const callsNeeded = callsFor(stations)
    return callsNeeded <= limit
      ? null
      : { stations, callsNeeded, quota: `${limit}/${per}`, maxTtlMs: longestMs }
  }

  #stationsUsedWithin(ms: number): number {
    const { store, clock } = this.#deps
    const since = clock.now() - ms
    let stations = 0
    for (const { lastUsedAt } of store.recent()) if (lastUsedAt >= since) stations++
    return stations
  }
}
