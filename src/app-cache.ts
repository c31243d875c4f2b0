import { Cache } from './cache/cache.ts'
import { WarmStart } from './cache/warm-start.ts'
import type { Config } from './config/load.ts'
import { ConfigError } from './config/load.ts'
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
  const stores = await openStores(deps)
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
  const archive = config.cache.ttlMs === 0 ? null : (stores?.archive ?? null)
  const warmStart = archive && new WarmStart({ ...config.cache, archive, store: cache.store, clock })
  return {
    cache,
    gauges,
    start: () => void warmStart?.run(),
    async close() {
      await tomtom.close()
      quota?.close()
      await warmStart?.stop()
      await stores?.close()
    },
  }
}

/** On disk an answer takes more than in memory, and answers that do not fit in memory are kept as well. */
const DISK_FACTOR = 4

/** @throws ConfigError if the state directory cannot be used */
async function openStores({ config, clock, observer }: CacheStackDeps): Promise<SharedStores | null> {
  if (config.stateDir === null) return config.redis && openRedisStores(config.redis, { clock, observer })
  // lmdb is loaded only here and in the thread that it runs in.
  const { openStateDirStores, UnusableDirectoryError } = await import('./state-dir/stores.ts')
  try {
    const answerBytes = DISK_FACTOR * config.cache.maxBytes
    return await openStateDirStores({ dir: config.stateDir, answerBytes }, { clock, observer })
  } catch (error) {
    if (!(error instanceof UnusableDirectoryError)) throw error
    throw new ConfigError([`STATE_DIR: ${error.message}`])
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
    { ...config.upstream, share },
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
