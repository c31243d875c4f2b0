import { Cache } from './cache/cache.ts'
import type { ByteBudget } from './lib/byte-budget.ts'
import type { Clock } from './lib/clock.ts'
import type { Config } from './config/load.ts'
import type { Gauges, Observer } from './events.ts'
import type { RedisStores } from './redis/stores.ts'
import { openRedisStores } from './redis/stores.ts'
import type { ApiKey } from './upstream/tomtom/api-key.ts'
import { LocalQuota } from './upstream/state/quota-ledger.ts'
import { withPolicies } from './upstream/policies.ts'
import type { Usage } from './upstream/pacing/pacer.ts'
import { createPacer } from './upstream/pacing/pacer.ts'
import { SharedQuota } from './upstream/state/shared-quota.ts'
import { createTomTom } from './upstream/tomtom/client.ts'

/** A flight may outlive the deadlines of what it waits for by this: it is the net below them. */
const FLIGHT_MARGIN_MS = 50

export interface CacheStackDeps {
  readonly config: Config
  readonly clock: Clock
  readonly observer: Observer
  readonly subscribe: (listener: Partial<Observer>) => void
  readonly apiKey: ApiKey
  readonly waiting: ByteBudget
  /** What upstream is told of us. */
  readonly userAgent: string
}

/** The cache, and behind it upstream in its sleeves and what replicas share. */
export async function createCacheStack(parts: CacheStackDeps) {
  const { config, clock, observer, apiKey, userAgent } = parts
  const shared = config.redis && (await openRedisStores(config.redis, { clock, observer }))
  const { source, inFlight, close } = createTomTom(
    { ...config.upstream, userAgent },
    { apiKey: apiKey.current, observer, clock },
  )
  const quota = openQuota(parts, shared, () => cache)
  const sleeves = withPolicies(
    { ...config.upstream, share: config.upstream.limitShare },
    {
      source,
      quota,
      tokens: shared && shared.tokens,
      coolDowns: shared && shared.coolDowns,
      apiKey: apiKey.current,
      clock,
      observer,
      random: Math.random,
    },
  )
  const effectiveTtlMs = quota?.pacing.ttlMs ?? (() => config.cache.ttlMs)
  const cache: Cache = new Cache(
    { ...config.cache, ...config.upstream, flightTimeoutMs: flightTimeoutMs(config) },
    {
      load: sleeves.source,
      observer,
      clock,
      random: Math.random,
      effectiveTtlMs,
      shared: shared && { store: shared.answers, observer },
      waiting: parts.waiting,
    },
  )
  const gauges: Omit<Gauges, 'access'> = {
    cache: () => ({ entries: cache.entries, bytes: cache.bytes }),
    upstream: () => ({
      inFlight: inFlight(),
      queued: sleeves.queued(),
      circuit: sleeves.circuit(),
      callsPerSecond: config.upstream.perSecond || null,
    }),
    quota: () => quota?.budget ?? null,
    effectiveTtlMs,
    sharedCacheUp: () => shared && shared.isUp(),
  }
  return {
    cache,
    gauges,
    async close() {
      await close()
      quota?.close()
      shared?.close()
    },
  }
}

/** Null without a quota. With the shared tier its account is there for all replicas. */
function openQuota(
  { config, clock, subscribe }: CacheStackDeps,
  shared: RedisStores | null,
  usage: () => Usage,
) {
  const { quota: limits, limitShare: share } = config.upstream
  if (limits === null) return null
  if (shared === null) {
    const budget = new LocalQuota(limits, clock, share)
    return { budget, pacing: createPacer(config.cache, { budget, usage, clock }), close: () => {} }
  }
  const budget = new SharedQuota(limits, { ledger: shared.quota, clock, share })
  subscribe({ sharedCacheChanged: (up) => up && budget.start() })
  budget.start()
  return { budget, pacing: createPacer(config.cache, { budget, usage, clock }), close: () => budget.stop() }
}

function flightTimeoutMs({ upstream }: Config): number {
  return upstream.queueTimeoutMs + upstream.timeoutMs + FLIGHT_MARGIN_MS
}
