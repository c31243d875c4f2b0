import type { CircuitState, Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { Policy, Source } from '../source.ts'
import type { Pacing } from './pacing/pacer.ts'
import { CircuitBreaker } from './policies/circuit-breaker.ts'
import { CoolDown } from './policies/cool-down.ts'
import { QuotaPolicy } from './policies/quota.ts'
import { RateLimit } from './policies/rate-limit.ts'
import { Retry } from './policies/retry.ts'
import { passThrough, SwitchablePolicy } from './policies/switchable.ts'
import type { CoolDownState } from './state/cool-down-state.ts'
import { LocalCoolDown } from './state/cool-down-state.ts'
import type { QuotaLedger } from './state/quota-ledger.ts'
import type { CoolDownStore } from './state/shared-cool-down.ts'
import { SharedCoolDownState } from './state/shared-cool-down.ts'
import type { TokenStore } from './state/shared-token-bucket.ts'
import { SharedTokenBucket } from './state/shared-token-bucket.ts'
import type { TokenBucket } from './state/token-bucket.ts'
import { bucketFor, LocalTokenBucket } from './state/token-bucket.ts'

export interface UpstreamStackOptions {
  /** Calls per second; 0 is no limit. */
  readonly perSecond: number
  readonly queueTimeoutMs: number
  readonly timeoutMs: number
  /** This replica's share of the limits while they are not shared, from 0 to 1. */
  readonly share?: number
}

export interface UpstreamStackDeps {
  readonly source: Source
  /** Null without a quota. */
  readonly quota: { readonly ledger: QuotaLedger; readonly pacing: Pick<Pacing, 'isRationing'> } | null
  readonly apiKey: () => string
  readonly clock: Clock
  readonly observer: Observer
  readonly random: () => number
  /** What this replica shares with others; null when it shares nothing. */
  readonly stores: { readonly tokens: TokenStore; readonly coolDowns: CoolDownStore } | null
}

export interface UpstreamStack {
  readonly source: Source
  /** The source with the limits alone: for a call that no open circuit and no cool-down may prevent. */
  readonly limitedSource: Source
  /** Calls that wait for a token. */
  readonly queued: () => number
  readonly circuit: () => CircuitState
  /** Replaces the limit of calls per second; 0 is no limit. */
  readonly setRate: (perSecond: number) => void
  /** Replaces the quota; null is no quota. */
  readonly setQuota: (quota: UpstreamStackDeps['quota']) => void
}

/**
 * The source with all its policies, outermost first. The order matters: an open circuit and a cool-down spend nothing;
 * a second attempt takes a token and is charged like the first; only calls that are sent are charged.
 *
 * @example withPolicies(config.upstream, { source: tomtom.source, … }).source('chargingAvailability-id', options)
 */
export function withPolicies(options: UpstreamStackOptions, deps: UpstreamStackDeps): UpstreamStack {
  const breaker = new CircuitBreaker(deps)
  const coolDown = new CoolDown({ ...deps, state: createCoolDownState(deps) })
  const retry = new Retry(options, deps)
  let rateLimit = createRateLimit(options, deps)
  const rate = new SwitchablePolicy(rateLimit.policy)
  const quota = new SwitchablePolicy(quotaPolicy(deps.quota, deps))

  const limitedSource = compose([rate.policy, quota.policy])(deps.source)
  return {
    source: compose([breaker.policy, coolDown.policy, retry.policy])(limitedSource),
    limitedSource,
    queued: () => rateLimit.queued,
    circuit: () => breaker.state,
    setRate: (perSecond) => {
      // Calls that are queued under the old limit are sent within this time.
      const pauseMs = rateLimit.queued > 0 ? options.queueTimeoutMs : 0
      rateLimit = createRateLimit({ ...options, perSecond, pauseMs }, deps)
      rate.replace(rateLimit.policy)
    },
    setQuota: (changed) => quota.replace(quotaPolicy(changed, deps)),
  }
}

function quotaPolicy(quota: UpstreamStackDeps['quota'], { observer }: UpstreamStackDeps): Policy {
  return quota === null ? passThrough : new QuotaPolicy({ ...quota, observer }).policy
}

interface RateLimitSetup extends UpstreamStackOptions {
  /** Replaces another limit: calls are sent so many ms, and the time of a token, after the replacement. */
  readonly pauseMs?: number
}

function createRateLimit(options: RateLimitSetup, deps: UpstreamStackDeps): RateLimit {
  return new RateLimit(options, { ...deps, tokens: createTokenBucket(options, deps) })
}

/** One policy of many, the outermost first. */
function compose(policies: readonly Policy[]): Policy {
  return (source) => policies.reduceRight((next, policy) => policy(next), source)
}

function createCoolDownState({ stores, clock, observer }: UpstreamStackDeps): CoolDownState {
  const deps = { clock, observer }
  return stores === null ? new LocalCoolDown(deps) : new SharedCoolDownState(stores.coolDowns, deps)
}

/** Null without a limit. */
function createTokenBucket(
  { perSecond, share = 1, pauseMs }: RateLimitSetup,
  { stores, clock }: UpstreamStackDeps,
): TokenBucket | null {
  if (perSecond === 0) return null
  const bucket = bucketFor(perSecond * share)
  const local = new LocalTokenBucket(bucket, clock)
  // All tokens are in use at first: together with the calls of the last second they could exceed the limit.
  if (pauseMs !== undefined) for (let i = 0; i < bucket.count; i++) local.takeIn(pauseMs)
  return stores === null ? local : new SharedTokenBucket(stores.tokens, bucketFor(perSecond), local)
}
