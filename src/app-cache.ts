import { Cache } from './cache/cache.ts'
import type { Config } from './config/load.ts'
import type { RuntimeSettings } from './config/runtime-settings.ts'
import type { Gauges, Observer } from './events.ts'
import type { Clock } from './lib/clock.ts'
import { openRedisStores } from './redis/stores.ts'
import type { SharedStores } from './stores.ts'
import type { Usage } from './upstream/pacing/pacer.ts'
import { createPacer } from './upstream/pacing/pacer.ts'
import type { UpstreamStack } from './upstream/policies.ts'
import { withPolicies } from './upstream/policies.ts'
import type { QuotaLimit } from './upstream/state/quota-ledger.ts'
import { LocalQuota } from './upstream/state/quota-ledger.ts'
import { SharedQuota } from './upstream/state/shared-quota.ts'
import type { ApiKey } from './upstream/tomtom/api-key.ts'
import type { TomTom } from './upstream/tomtom/client.ts'
import { createTomTom } from './upstream/tomtom/client.ts'
import { checkKey } from './upstream/tomtom/key-check.ts'

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
  const stores = config.redis && (await openRedisStores(config.redis, { clock, observer }))
  const tomtom = createTomTom(
    { ...config.upstream, proxy: config.outboundProxy, userAgent },
    { apiKey: apiKey.current, observer, clock },
  )
  // The pacer reads the use of the cache, and the cache needs the pacer's TTL: hence the function.
  let quota = createQuota(deps, stores, () => cache)
  deps.subscribe({ sharedCacheChanged: (up) => up && quota?.start() })
  const upstream = createUpstream(deps, tomtom, quota, stores)
  const effectiveTtlMs = () => quota?.pacing.ttlMs() ?? config.cache.ttlMs
  const cacheOptions = { ...config.cache, ...config.upstream, flightTimeoutMs: deadlineMs(config) }
  const cache: Cache = new Cache(cacheOptions, {
    load: upstream.source,
    observer,
    clock,
    random: Math.random,
    effectiveTtlMs,
    shared: stores && { store: stores.answers, observer },
  })
  return {
    cache,
    gauges: createGauges({ config, cache, tomtom, upstream, quota: () => quota, effectiveTtlMs, stores }),
    checkKey: () => checkKey(upstream.limitedSource),
    /** Applies what has changed in `config`. */
    applySettings(before: RuntimeSettings) {
      Object.assign(cacheOptions, config.cache)
      if (config.cache.ttlMs === 0) void cache.purge.all()
      if (config.upstream.perSecond !== before.upstream.perSecond) upstream.setRate(config.upstream.perSecond)
      if (isSameQuota(config.upstream.quota, before.upstream.quota)) return
      quota = replaceQuota(
        quota,
        createQuota(deps, stores, () => cache),
      )
      upstream.setQuota(quota)
    },
    async close() {
      await tomtom.close()
      quota?.close()
      stores?.close()
    },
  }
}

interface GaugeDeps {
  readonly config: Config
  readonly cache: Cache
  readonly tomtom: TomTom
  readonly upstream: UpstreamStack
  readonly quota: () => Quota
  readonly effectiveTtlMs: () => number
  readonly stores: SharedStores | null
}

function createGauges({
  config,
  cache,
  tomtom,
  upstream,
  quota,
  effectiveTtlMs,
  stores,
}: GaugeDeps): Omit<Gauges, 'access'> {
  return {
    cache: () => ({ entries: cache.entries, bytes: cache.bytes }),
    upstream: () => ({
      inFlight: tomtom.inFlight(),
      queued: upstream.queued(),
      circuit: upstream.circuit(),
      callsPerSecond: config.upstream.perSecond || null,
    }),
    quota: () => quota()?.ledger ?? null,
    effectiveTtlMs,
    sharedCacheUp: () => stores && stores.isUp(),
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
function createQuota({ config, clock }: CacheStackDeps, stores: SharedStores | null, usage: () => Usage) {
  const { quota: limit, limitShare: share } = config.upstream
  if (limit === null) return null
  const ledger =
    stores === null
      ? new LocalQuota(limit, clock, share)
      : new SharedQuota(limit, { store: stores.quota, clock, share })
  const start = () => {
    if (ledger instanceof SharedQuota) ledger.start()
  }
  const close = () => {
    if (ledger instanceof SharedQuota) ledger.stop()
  }
  start()
  return { ledger, pacing: createPacer(config.cache, { ledger, usage, clock }), start, close }
}

/** What was spent is kept if both quotas are for the same period. */
function replaceQuota(before: Quota, next: Quota): Quota {
  before?.close()
  const [old, ledger] = [before?.ledger, next?.ledger]
  if (old === undefined || ledger === undefined || old.resetAtMs !== ledger.resetAtMs) return next
  if (old instanceof LocalQuota && ledger instanceof LocalQuota) ledger.continueFrom(old)
  if (old instanceof SharedQuota && ledger instanceof SharedQuota) ledger.continueFrom(old)
  return next
}

function isSameQuota(one: QuotaLimit | null, other: QuotaLimit | null): boolean {
  return one?.limit === other?.limit && one?.per === other?.per
}

function deadlineMs({ upstream }: Config): number {
  return upstream.queueTimeoutMs + upstream.timeoutMs + DEADLINE_MARGIN_MS
}
