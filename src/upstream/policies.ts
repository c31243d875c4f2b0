import type { Source } from '../source.ts'
import type { Clock } from '../lib/clock.ts'
import type { CircuitState, Observer } from '../events.ts'
import { withBreaker } from './policies/circuit-breaker.ts'
import type { QuotaLedger } from './state/quota-ledger.ts'
import type { CoolDownStore } from './policies/cool-down.ts'
import { withCoolDown } from './policies/cool-down.ts'
import type { Pacing } from './pacing/pacer.ts'
import { withQuota } from './policies/quota.ts'
import type { TokenStore } from './policies/rate-limit.ts'
import { withRateLimit } from './policies/rate-limit.ts'
import { withRetry } from './policies/retry.ts'

export interface UpstreamStackOptions {
  readonly perSecond: number
  readonly queueTimeoutMs: number
  readonly timeoutMs: number
  /** This replica's part of the limits while they are not shared, from 0 to 1. */
  readonly share?: number
}

export interface UpstreamStackDeps {
  readonly source: Source
  /** Null without a quota. */
  readonly quota: { readonly budget: QuotaLedger; readonly pacing: Pacing } | null
  readonly apiKey: () => string
  readonly clock: Clock
  readonly observer: Observer
  readonly random: () => number
  /** Absent when nothing is shared with other replicas. */
  readonly tokens?: TokenStore | null
  readonly coolDowns?: CoolDownStore | null
}

export interface UpstreamStack {
  readonly source: Source
  readonly queued: () => number
  readonly circuit: () => CircuitState
}

/**
 * A Source in all its sleeves. The order is the point: outermost what spends nothing (an open circuit, a cool-down),
 * innermost the charge, so that only calls that are sent are charged; the retry lies around both limits, so that a
 * second attempt takes its place and is charged like the first.
 */
export function withPolicies(options: UpstreamStackOptions, parts: UpstreamStackDeps): UpstreamStack {
  const { source, quota, observer, clock } = parts
  const charged = quota === null ? source : withQuota(source, quota.budget, quota.pacing, observer)
  const limited = withRateLimit(charged, options, clock, parts.tokens)
  const retried = withRetry(limited.source, options, parts)
  const breaker = withBreaker(withCoolDown(retried, { ...parts, store: parts.coolDowns ?? null }), parts)
  return { source: breaker.source, queued: limited.queueLength, circuit: breaker.state }
}
