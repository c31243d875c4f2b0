import type { Config } from './config/load.ts'
import type { QuotaForecast } from './gauges.ts'
import type { Clock } from './lib/clock.ts'
import type { SharedStores } from './stores.ts'
import { Price } from './upstream/pacing/price.ts'
import { StationPacing } from './upstream/pacing/station-pacing.ts'
import { UnknownIdAllowance } from './upstream/pacing/unknown-id-allowance.ts'
import type { QuotaLimit } from './upstream/state/quota-ledger.ts'
import { LocalQuota } from './upstream/state/quota-ledger.ts'
import { SharedQuota } from './upstream/state/shared-quota.ts'

export interface QuotaDeps {
  readonly config: Config
  readonly clock: Clock
  /** Null where nothing is shared. */
  readonly stores: SharedStores | null
  /** Lookups since the start. */
  readonly lookups: () => number
}

/** The quota with its pacing. */
export interface PacedUpstream {
  readonly ledger: LocalQuota | SharedQuota
  /** The price of a call; it also decides whether calls are rationed. */
  readonly pacing: Price
  /** A TTL for each station; null where nothing is stored. */
  readonly stations: StationPacing | null
  readonly allowance: UnknownIdAllowance
  readonly forecast: () => QuotaForecast
  /** Reads the usage of all replicas, now and every few seconds. */
  readonly start: () => void
  readonly close: () => void
}

/**
 * Null without a quota: then every station has CACHE_TTL, and nothing is computed. After a change of settings `previous`
 * is what they replace: what was spent is kept if the period is of the same kind.
 */
export function createQuota(deps: QuotaDeps, previous: PacedUpstream | null = null): PacedUpstream | null {
  const { config, clock, stores, lookups } = deps
  const { quota: limit } = config.upstream
  const isKept = previous !== null && previous.ledger.per === limit?.per
  if (!isKept) previous?.close()
  if (limit === null) return null
  if (isKept) previous.ledger.changeLimit(limit.limit)
  const ledger = isKept ? previous.ledger : createLedger(limit, deps)
  const pacing = new Price(config.cache, { quota: ledger, clock, lookups, shared: stores && stores.price })
  const stations = config.cache.ttlMs > 0 ? new StationPacing(config.cache, { price: pacing, clock }) : null
  const allowance = isKept ? previous.allowance : new UnknownIdAllowance(ledger, clock)
  const forecast = (): QuotaForecast => ({
    // Before the demand is known calls are released as if rationed; that is no state to report.
    isRationing: pacing.isRationing() && pacing.isDemandKnown,
    projectedRemaining: pacing.projectedRemaining,
    unknownIdsRemaining: allowance.remaining,
    estimatedCorrectRatio: stations && stations.estimatedCorrectRatio(),
  })
  const start = () => {
    if (ledger instanceof SharedQuota) ledger.start()
  }
  const close = () => {
    if (ledger instanceof SharedQuota) ledger.stop()
  }
  start()
  return { ledger, pacing, stations, allowance, forecast, start, close }
}

function createLedger(limit: QuotaLimit, { config, clock, stores }: QuotaDeps): LocalQuota | SharedQuota {
  const { limitShare: share } = config.upstream
  if (stores === null) return new LocalQuota(limit, clock, share)
  return new SharedQuota(limit, { store: stores.quota, clock, share })
}
