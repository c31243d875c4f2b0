import type { CircuitState, Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { LoadOptions, Policy, Source } from '../source.ts'
import type { UnknownIdAllowance } from './pacing/unknown-id-allowance.ts'
import { CircuitBreaker } from './policies/circuit-breaker.ts'
import { CoolDown } from './policies/cool-down.ts'
import { QuotaPolicy } from './policies/quota.ts'
import { RateLimit } from './policies/rate-limit.ts'
import { Retry } from './policies/retry.ts'
import { passThrough, SwitchablePolicy } from './policies/switchable.ts'
import { UnknownIdPolicy } from './policies/unknown-ids.ts'
import type { CoolDownState } from './state/cool-down-state.ts'
import { LocalCoolDown } from './state/cool-down-state.ts'
import type { QuotaLedger } from './state/quota-ledger.ts'
import type { CoolDownStore } from './state/shared-cool-down.ts'
import { SharedCoolDownState } from './state/shared-cool-down.ts'
import { SendGate } from './state/send-gate.ts'
import type { TokenStore } from './state/shared-token-bucket.ts'
import { SharedTokenBucket } from './state/shared-token-bucket.ts'
import { bucketFor, bucketForShare, LocalTokenBucket } from './state/token-bucket.ts'

export interface UpstreamStackOptions {
  /** Calls per second; 0 is no limit. */
  readonly perSecond: number
  readonly queueTimeoutMs: number
  readonly timeoutMs: number
  /** This replica's share of the limits while they are not shared, from 0 to 1. */
  readonly share?: number
  /** The part of the quota that one client may start calls for, from 0 to 1. */
  readonly clientShare?: number
  /** Whether clients have names, by which their calls are counted. */
  readonly hasNamedClients?: boolean
  /** The number of clients that have names. */
  readonly clientCount?: () => number
}

/** The quota, what decides on rationing, and the part of it that calls for unknown ids may take. */
export interface QuotaParts {
  readonly ledger: QuotaLedger
  readonly countInOthers?: (calls: 1 | -1) => void
  readonly pacing: { readonly isRationing: () => boolean }
  readonly allowance?: Pick<UnknownIdAllowance, 'sync' | 'waitMs' | 'charge'>
}

export interface UpstreamStackDeps {
  readonly source: Source
  /** Null without a quota. */
  readonly quota: QuotaParts | null
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
  /** Whether the circuit breaker would reject a call now. */
  readonly isBlocked: () => boolean
  /** Whether such a call would not be rejected at once by the quota. */
  readonly isAffordable: (call: LoadOptions, id: string) => boolean
  /** Replaces the limit of calls per second; 0 is no limit. */
  readonly setRate: (perSecond: number) => void
  /** Replaces the quota; null is no quota. */
  readonly setQuota: (quota: UpstreamStackDeps['quota']) => void
}

/**
 * The source with all its policies, outermost first. The order matters: an open circuit and a cool-down spend nothing;
 * what the quota cannot afford, and an id that the allowance for unknown ids rejects, takes no token; a second attempt
 * takes a token and is charged like the first; only calls that are sent are charged.
 *
 * @example withPolicies(config.upstream, { source: tomtom.source, … }).source('chargingAvailability-id', options)
 */
export function withPolicies(options: UpstreamStackOptions, deps: UpstreamStackDeps): UpstreamStack {
  const breaker = new CircuitBreaker(deps)
  const coolDown = new CoolDown({ ...deps, state: createCoolDownState(deps) })
  const retry = new Retry(options, deps)
  let rateLimit = createRateLimit(options, deps)
  const [rate, send] = [new SwitchablePolicy(rateLimit.policy), new SwitchablePolicy(rateLimit.send)]
  let quota = quotaPolicies(options, deps, deps.quota)
  const [ids, check, charge] = quota.policies.map((policy) => new SwitchablePolicy(policy))

  const count = countCalls(options, deps.observer)
  const limits = [check, rate, charge, send].map((one) => (one as SwitchablePolicy).policy)
  const limitedSource = compose([...limits, count])(deps.source)
  const outer = [breaker.policy, coolDown.policy, (ids as SwitchablePolicy).policy, retry.policy]
  return {
    source: compose(outer)(limitedSource),
    limitedSource,
    queued: () => rateLimit.queued,
    circuit: () => breaker.state,
    isBlocked: () => breaker.isBlocking,
    isAffordable: (call, id) => quota.isAffordable(call, id),
    setRate: (perSecond) => {
      // Calls that are queued under the old limit are sent within this time.
      const pauseMs = rateLimit.queued > 0 ? options.queueTimeoutMs : 0
      rateLimit = createRateLimit({ ...options, perSecond, pauseMs }, deps)
      rate.replace(rateLimit.policy)
      send.replace(rateLimit.send)
    },
    setQuota: (changed) => {
      quota = quotaPolicies(options, deps, changed)
      for (const [i, policy] of quota.policies.entries()) {
        ;([ids, check, charge][i] as SwitchablePolicy).replace(policy)
      }
    },
  }
}

function countCalls(
  { hasNamedClients = false }: UpstreamStackOptions,
  { clientCalled, stationCalled }: Pick<Observer, 'clientCalled' | 'stationCalled'>,
): Policy {
  return (next) => (id, options) => {
    stationCalled(id)
    if (hasNamedClients && options.client !== undefined) clientCalled(options.client)
    return next(id, options)
  }
}

interface QuotaPolicies extends Pick<UpstreamStack, 'isAffordable'> {
  /** Of unknown ids, the check before the rate limit, and the charge. */
  readonly policies: readonly [Policy, Policy, Policy]
}

function quotaPolicies(
  options: UpstreamStackOptions,
  { observer, clock }: UpstreamStackDeps,
  parts: UpstreamStackDeps['quota'],
): QuotaPolicies {
  if (parts === null) return { policies: [passThrough, passThrough, passThrough], isAffordable: () => true }
  const quota = new QuotaPolicy({ ...parts, ...options, observer })
  const { allowance } = parts
  const ids = allowance === undefined ? null : new UnknownIdPolicy({ allowance, observer, clock })
  return {
    policies: [ids?.policy ?? passThrough, quota.check, quota.policy],
    isAffordable: (call, id) => (ids?.isAffordable(call, id) ?? true) && quota.isAffordable(call),
  }
}

interface RateLimitSetup extends UpstreamStackOptions {
  /** Replaces another limit: calls are sent so many ms, and the time of a token, after the replacement. */
  readonly pauseMs?: number
}

function createRateLimit(options: RateLimitSetup, deps: UpstreamStackDeps): RateLimit {
  return new RateLimit(options, { ...deps, limit: createLimit(options, deps) })
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
function createLimit(
  { perSecond, share = 1, pauseMs }: RateLimitSetup,
  { stores, clock, random }: UpstreamStackDeps,
) {
  if (perSecond === 0) return null
  const all = bucketFor(perSecond)
  const createLocal = (processes: number) => {
    const part = Math.min(share, 1 / processes)
    const local = new LocalTokenBucket(bucketForShare(perSecond, part, random), clock)
    // Together with the calls of the last second the tokens could exceed the limit.
    if (pauseMs !== undefined) local.takeAll(pauseMs)
    return local
  }
  const store = stores?.tokens
  const tokens =
    store === undefined ? createLocal(1) : new SharedTokenBucket(all, { store, clock, createLocal })
  return { tokens, gate: new SendGate(all.count, clock) }
}
