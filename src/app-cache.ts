import { Cache } from './cache/cache.ts'
import type { Config } from './config/load.ts'
import type { Gauges, Observer } from './events.ts'
import type { Clock } from './lib/clock.ts'
import { openRedisStores } from './redis/stores.ts'
import type { SharedStores } from './stores.ts'
import type { Usage } from './upstream/pacing/pacer.ts'
import { createPacer } from './upstream/pacing/pacer.ts'
import { withPolicies } from './upstream/policies.ts'
import { LocalQuota } from './upstream/state/quota-ledger.ts'
import { SharedQuota } from './upstream/state/shared-quota.ts'
import type { ApiKey } from './upstream/tomtom/api-key.ts'
import type { TomTom } from './upstream/tomtom/client.ts'
import { createTomTom } from './upstream/tomtom/client.ts'

/** The deadline of a call in the cache exceeds the sum of the timeouts inside it by this. */
const DEADLINE_MARGIN_MS = 50

export interface CacheStackDeps {
  readonly config: Config
  readonly clock: Clock
  readonly observer: Observer
  readonly subscribe: (listener: Partial<Observer>) => void
  readonly apiKey: ApiKey
  readonly userAgent: string
}

type Quota = ReturnType<typeof createQuota>

/** The cache, upstream with its policies behind it, and what replicas share. */
export async function createCacheStack(deps: CacheStackDeps) {
  const { config, clock, observer, apiKey, userAgent } = deps
  const stores =
    config.redis &&
    (await openRedisStores(config.redis, { clock, observer, hasQuota: config.upstream.quota !== null }))
  const tomtom = createTomTom({ ...config.upstream, userAgent }, { apiKey: apiKey.current, observer, clock })
  // The pacer reads the use of the cache, and the cache needs the pacer's TTL: hence the function.
  const quota = createQuota(deps, stores, () => cache)
  const upstream = createUpstream(deps, tomtom, quota, stores)
  const effectiveTtlMs = quota?.pacing.ttlMs ?? (() => config.cache.ttlMs)
  const cache: Cache = new Cache(
    { ...config.cache, ...config.upstream, flightTimeoutMs: deadlineMs(config) },
    {
      load: upstream.source,
      observer,
      clock,
      random: Math.random,
      effectiveTtlMs,
      shared: stores && { store: stores.answers, observer },
    },
  )
  const gauges: Omit<Gauges, 'access'> = {
    cache: () => ({ entries: cache.entries, bytes: cache.bytes }),
    upstream: () => ({
      inFlight: tomtom.inFlight(),
      queued: upstream.queued(),
      circuit: upstream.circuit(),
      callsPerSecond: config.upstream.perSecond || null,
    }),
    quota: () => quota?.ledger ?? null,
    effectiveTtlMs,
    sharedCacheUp: () => stores && stores.isUp(),
  }
  return {
    cache,
    gauges,
    async close() {
      await tomtom.close()
      quota?.close()
      stores?.close()
    },
  }
}

function createUpstream(
  { config, clock, observer, apiKey }: CacheStackDeps,
  tomtom: TomTom,
  quota: Quota,
  stores: SharedStores | null,
) {
  const { limitShare: share } = config.upstream
  return withPolicies(
    {
      ...config.upstream,
      share,
      clientShare: config.clients.quotaShare,
      hasNamedClients: config.clients.keys !== null,
    },
    { source: tomtom.source, quota, stores, apiKey: apiKey.current, clock, observer, random: Math.random },
  )
}

/** Null without a quota. */
function createQuota(
  { config, clock, subscribe }: CacheStackDeps,
  stores: SharedStores | null,
  usage: () => Usage,
) {
  const { quota: limit, limitShare: share } = config.upstream
  if (limit === null) return null
  if (stores === null) {
    const ledger = new LocalQuota(limit, clock, share)
    return { ledger, pacing: createPacer(config.cache, { ledger, usage, clock }), close: () => {} }
  }
  const ledger = new SharedQuota(limit, { store: stores.quota, clock, share })
  subscribe({ sharedCacheChanged: (up) => up && ledger.start() })
  ledger.start()
  return { ledger, pacing: createPacer(config.cache, { ledger, usage, clock }), close: () => ledger.stop() }
}

function deadlineMs({ upstream }: Config): number {
  return upstream.queueTimeoutMs + upstream.timeoutMs + DEADLINE_MARGIN_MS
}
