import type { CircuitState, Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { Policy, Source } from '../source.ts'
import type { UnknownIdAllowance } from './pacing/unknown-id-allowance.ts'
import { CircuitBreaker } from './policies/circuit-breaker.ts'
import { CoolDown } from './policies/cool-down.ts'
import { QuotaPolicy } from './policies/quota.ts'
import { RateLimit } from './policies/rate-limit.ts'
import { Retry } from './policies/retry.ts'
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
}

/** The quota, what decides on rationing, and the part of it that calls for unknown ids may take. */
export interface QuotaParts {
  readonly ledger: QuotaLedger
  readonly pacing: { readonly isRationing: () => boolean }
  readonly allowance?: Pick<UnknownIdAllowance, 'waitMs' | 'charge'>
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
  /** Calls that wait for a token. */
  readonly queued: () => number
  readonly circuit: () => CircuitState
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
  const rateLimit = new RateLimit(options, { ...deps, limit: createLimit(options, deps) })
  const quota = deps.quota && new QuotaPolicy({ ...deps.quota, ...options, observer: deps.observer })
  const { allowance } = deps.quota ?? {}
  const unknownIds = allowance && new UnknownIdPolicy({ allowance, observer: deps.observer })

  const ids = unknownIds ? [unknownIds.policy] : []
  const [check, charge] = quota ? [[quota.check], [quota.policy]] : [[], []]
  const innermost =
    options.hasNamedClients === true ? [rateLimit.send, countByClient(deps.observer)] : [rateLimit.send]
  const outer = [breaker.policy, coolDown.policy, ...ids, retry.policy, ...check, rateLimit.policy]
  const policies = [...outer, ...charge, ...innermost]
  return {
    source: compose(policies)(deps.source),
    queued: () => rateLimit.queued,
    circuit: () => breaker.state,
  }
}

function countByClient({ clientCalled }: Pick<Observer, 'clientCalled'>): Policy {
  return (next) => (id, options) => {
    if (options.client !== undefined) clientCalled(options.client)
    return next(id, options)
  }
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
  { perSecond, share = 1 }: UpstreamStackOptions,
  { stores, clock, random }: UpstreamStackDeps,
) {
  if (perSecond === 0) return null
  const all = bucketFor(perSecond)
  const local = new LocalTokenBucket(bucketForShare(perSecond, share, random), clock)
  const tokens = stores === null ? local : new SharedTokenBucket(stores.tokens, all, local, clock)
  return { tokens, gate: new SendGate(all.count, clock) }
}
