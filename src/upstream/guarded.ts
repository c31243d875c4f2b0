import type { Source } from '../availability/model.ts'
import type { Clock } from '../clock.ts'
import type { CircuitState, Observer } from '../observer.ts'
import { withBreaker } from './breaker.ts'
import type { Purse } from './budget.ts'
import type { SharedRefusals } from './cool-down.ts'
import { withCoolDown } from './cool-down.ts'
import type { Pacing } from './pacing.ts'
import { withQuota } from './quota.ts'
import type { SharedTokens } from './rate-limit.ts'
import { withRateLimit } from './rate-limit.ts'
import { withRetry } from './retry.ts'

export interface GuardedOptions {
  readonly perSecond: number
  readonly queueTimeoutMs: number
  readonly timeoutMs: number
  /** This replica's part of the limits while they are not shared, from 0 to 1. */
  readonly share?: number
}

export interface GuardedParts {
  readonly source: Source
  /** Null without a quota. */
  readonly quota: { readonly budget: Purse; readonly pacing: Pacing } | null
  readonly apiKey: () => string
  readonly clock: Clock
  readonly observer: Observer
  readonly random: () => number
  /** Absent when nothing is shared with other replicas. */
  readonly tokens?: SharedTokens | null
  readonly refusals?: SharedRefusals | null
}

export interface Guarded {
  readonly source: Source
  readonly queued: () => number
  readonly circuit: () => CircuitState
}

/**
 * A Source in all its sleeves. The order is the point: outermost what spends nothing (an open circuit, a cool-down),
 * innermost the charge, so that only calls that are sent are charged; the retry lies around both limits, so that a
 * second attempt takes its place and is charged like the first.
 */
export function guarded(options: GuardedOptions, parts: GuardedParts): Guarded {
  const { source, quota, observer, clock } = parts
  const charged = quota === null ? source : withQuota(source, quota.budget, quota.pacing, observer)
  const limited = withRateLimit(charged, options, clock, parts.tokens)
  const retried = withRetry(limited.source, options, parts)
  const breaker = withBreaker(withCoolDown(retried, parts), parts)
  return { source: breaker.source, queued: limited.queueLength, circuit: breaker.state }
}
