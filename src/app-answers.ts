import { Cache } from './cache/cache.ts'
import { LEASE_MS } from './cache/shared.ts'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import type { Gauges, Observer } from './observer.ts'
import type { RedisTier } from './redis/shared-tier.ts'
import { openRedisTier } from './redis/shared-tier.ts'
import type { ApiKey } from './upstream/api-key.ts'
import { Budget } from './upstream/budget.ts'
import { guarded } from './upstream/guarded.ts'
import type { Usage } from './upstream/pacing.ts'
import { pace } from './upstream/pacing.ts'
import { SharedBudget } from './upstream/shared-budget.ts'
import { tomtom } from './upstream/tomtom.ts'

/** A flight may outlive the deadlines of what it waits for by this: it is the net below them. */
const FLIGHT_MARGIN_MS = 50

export interface AnswersParts {
  readonly config: Config
  readonly clock: Clock
  readonly observer: Observer
  /** Whoever is in here hears the observer from then on. */
  readonly listeners: Partial<Observer>[]
  readonly apiKey: ApiKey
  /** What upstream is told of us. */
  readonly userAgent: string
}

/** The cache, and behind it upstream in its sleeves and what replicas share. */
export async function openAnswers(parts: AnswersParts) {
  const { config, clock, observer, apiKey, userAgent } = parts
  const shared = config.redis && (await openRedisTier(config.redis, { leaseMs: LEASE_MS, clock, observer }))
  const { source, inFlight, close } = tomtom(
    { ...config.upstream, userAgent },
    { apiKey: apiKey.current, observer, clock },
  )
  const quota = openQuota(parts, shared, () => cache)
  const sleeves = guarded(
    { ...config.upstream, share: config.upstream.limitShare },
    {
      source,
      quota,
      tokens: shared && shared.tokens,
      refusals: shared && shared.refusals,
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
      shared: shared && { tier: shared.answers, observer },
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
    sharedTierUp: () => shared && shared.isUp(),
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
function openQuota({ config, clock, listeners }: AnswersParts, shared: RedisTier | null, usage: () => Usage) {
  const { quota: limits, limitShare: share } = config.upstream
  if (limits === null) return null
  if (shared === null) {
    const budget = new Budget(limits, clock, share)
    return { budget, pacing: pace(config.cache, { budget, usage, clock }), close: () => {} }
  }
  const budget = new SharedBudget(limits, { ledger: shared.ledger, clock, share })
  listeners.push({ sharedTierChanged: (up) => up && budget.start() })
  budget.start()
  return { budget, pacing: pace(config.cache, { budget, usage, clock }), close: () => budget.stop() }
}

function flightTimeoutMs({ upstream }: Config): number {
  return upstream.queueTimeoutMs + upstream.timeoutMs + FLIGHT_MARGIN_MS
}
