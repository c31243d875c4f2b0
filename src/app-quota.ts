import type { Config } from './config/load.ts'
import type { Observer, QuotaForecast } from './events.ts'
import type { Clock } from './lib/clock.ts'
import type { SharedStores } from './stores.ts'
import type { PacedQuota } from './upstream/pacing/price.ts'
import { Price } from './upstream/pacing/price.ts'
import { StationPacing } from './upstream/pacing/station-pacing.ts'
import { UnknownIdAllowance } from './upstream/pacing/unknown-id-allowance.ts'
import type { QuotaLedger, QuotaLimit } from './upstream/state/quota-ledger.ts'
import { LocalQuota } from './upstream/state/quota-ledger.ts'
import { SharedQuota } from './upstream/state/shared-quota.ts'

export interface QuotaDeps {
  readonly config: Config
  readonly clock: Clock
  readonly subscribe: (listener: Partial<Observer>) => void
  /** Null where nothing is shared. */
  readonly stores: SharedStores | null
  /** Lookups since the start. */
  readonly lookups: () => number
}

/** The quota with its pacing. */
export interface PacedUpstream {
  readonly ledger: QuotaLedger
  /** The price of a call; it also decides whether calls are rationed. */
  readonly pacing: Price
  /** A TTL for each station; null where nothing is stored. */
  readonly stations: StationPacing | null
  readonly allowance: UnknownIdAllowance
  readonly forecast: () => QuotaForecast
  readonly close: () => void
}

/** Null without a quota: then every station has CACHE_TTL, and nothing is computed. */
export function createQuota({ config, clock, subscribe, stores, lookups }: QuotaDeps): PacedUpstream | null {
  const { quota: limit, limitShare: share } = config.upstream
  if (limit === null) return null
  const { ledger, close } = createLedger(limit, share, { clock, subscribe, stores })
  const quota = pacedQuota(ledger, limit.per)
  const pacing = new Price(config.cache, { quota, clock, lookups, shared: stores && stores.price })
  const stations = config.cache.ttlMs > 0 ? new StationPacing(config.cache, { price: pacing, clock }) : null
  const allowance = new UnknownIdAllowance(quota, clock)
  const forecast = (): QuotaForecast => ({
    // Before the demand is known calls are released as if rationed; that is no state to report.
    isRationing: pacing.isRationing() && pacing.isDemandKnown,
    projectedRemaining: pacing.projectedRemaining,
    unknownIdsRemaining: allowance.remaining,
    estimatedCorrectRatio: stations && stations.estimatedCorrectRatio(),
  })
  return { ledger, pacing, stations, allowance, forecast, close }
}

function createLedger(
  limit: QuotaLimit,
  share: number,
  { clock, subscribe, stores }: Pick<QuotaDeps, 'clock' | 'subscribe' | 'stores'>,
): { ledger: QuotaLedger; close: () => void } {
  if (stores === null) return { ledger: new LocalQuota(limit, clock, share), close: () => {} }
  const ledger = new SharedQuota(limit, { store: stores.quota, clock, share })
  subscribe({ sharedCacheChanged: (up) => up && ledger.start() })
  ledger.start()
  return { ledger, close: () => ledger.stop() }
}

function pacedQuota(ledger: QuotaLedger, per: QuotaLimit['per']): PacedQuota {
  return {
    per,
    get spent() {
      return ledger.spent
    },
    get remaining() {
      return ledger.remaining
    },
    get resetAtMs() {
      return ledger.resetAtMs
    },
  }
}
