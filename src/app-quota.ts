import type { Config } from './config/load.ts'
import type { QuotaForecast } from './gauges.ts'
import type { Clock } from './lib/clock.ts'
import type { SharedStores } from './stores.ts'
import { learnedOf, PacingMemory, restorePacing } from './upstream/pacing/pacing-memory.ts'
import { Price } from './upstream/pacing/price.ts'
import { StationPacing } from './upstream/pacing/station-pacing.ts'
import { UnknownIdAllowance } from './upstream/pacing/unknown-id-allowance.ts'
import { LocalQuota } from './upstream/state/quota-ledger.ts'
import { QuotaLedgers } from './upstream/state/quota-ledgers.ts'
import { SharedQuota } from './upstream/state/shared-quota.ts'

/** A call for a station that is not cached. */
const ANY_CALL = { hasStale: false, rationed: true, client: null }

export interface QuotaDeps {
  readonly config: Config
  readonly clock: Clock
  /** Null where nothing is shared. */
  readonly stores: SharedStores | null
  readonly ledgers: QuotaLedgers<LocalQuota | SharedQuota>
  /** Lookups since the start. */
  readonly lookups: () => number
}

/** The quota with its pacing. */
export interface QuotaStack {
  readonly ledger: LocalQuota | SharedQuota
  /** Counts a call of this ledger in those of the other kinds of periods that were in force. */
  readonly countInOthers: (calls: 1 | -1) => void
  /** The price of a call; it also decides whether calls are rationed. */
  readonly pacing: Price
  /** A TTL for each station; null where nothing is stored. */
  readonly stations: StationPacing | null
  readonly allowance: UnknownIdAllowance
  /** Null where nothing is shared. */
  readonly memory: PacingMemory | null
  readonly forecast: () => Omit<QuotaForecast, 'shortfall'>
  /** Reads the usage of all replicas, now and every few seconds. */
  readonly start: () => void
  readonly close: () => Promise<void>
}

/**
 * Null without a quota: then every station has CACHE_TTL, and nothing is computed. After a change of settings `previous`
 * is what they replace: what pacing has learned is kept if the period is of the same kind.
 */
export function createQuota(deps: QuotaDeps, previous: QuotaStack | null = null): QuotaStack | null {
  const { config, clock, stores, ledgers, lookups } = deps
  const { quota: limit } = config.upstream
  const isKept = previous !== null && previous.ledger.per === limit?.per
  if (!isKept) void previous?.close()
  if (limit === null) return null
  const ledger = ledgers.use(limit)
  const countInOthers = (calls: 1 | -1) => ledgers.countInOthers(ledger, calls)
  const shared = stores && stores.pacing
  const pacing = new Price(config.cache, { quota: ledger, clock, lookups, shared })
  const stations = config.cache.ttlMs > 0 ? new StationPacing(config.cache, { price: pacing, clock }) : null
  const parts = { price: pacing, stations }
  if (isKept) restorePacing(parts, learnedOf({ price: previous.pacing, stations: previous.stations }))
  if (isKept) void previous.memory?.stop()
  const memory = shared && new PacingMemory(parts, { store: shared, clock })
  const store = stores && stores.unknownIds
  const allowance = isKept ? previous.allowance : new UnknownIdAllowance({ quota: ledger, clock, store })
  const forecast = () => ({
    // Before the demand is known calls are released as if rationed: to be reported once a call has to wait for that.
    isRationing: pacing.isRationing() && (pacing.isDemandKnown || ledger.waitMs(ANY_CALL, 0) > 0),
    isProjected: pacing.isProjected,
    projectedRemaining: pacing.projectedRemaining,
    unknownIdsRemaining: allowance.remaining,
    estimatedCorrectRatio: stations && stations.estimatedCorrectRatio(),
  })
  const start = () => {
    if (ledger instanceof SharedQuota) ledger.start()
    memory?.start()
  }
  const close = async () => memory?.stop()
  start()
  return { ledger, countInOthers, pacing, stations, allowance, memory, forecast, start, close }
}

/** The ledgers of a process; with a store those that are not in force follow it as well. */
export function createLedgers({
  config,
  clock,
  stores,
}: Omit<QuotaDeps, 'ledgers' | 'lookups'>): QuotaLedgers<LocalQuota | SharedQuota> {
  const { limitShare: share } = config.upstream
  return new QuotaLedgers((quota) =>
    stores === null
      ? new LocalQuota(quota, clock, share)
      : new SharedQuota(quota, { store: stores.quota, clock, share }),
  )
}

export function stopLedgers(ledgers: QuotaDeps['ledgers']): void {
  for (const ledger of ledgers.all()) if (ledger instanceof SharedQuota) ledger.stop()
}
