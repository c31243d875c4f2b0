import type { Source } from '../availability/model.ts'
import type { Clock } from '../clock.ts'
import type { CircuitState, Observer } from '../observer.ts'
import { withBreaker } from './breaker.ts'
import type { Budget } from './budget.ts'
import { withCoolDown } from './cool-down.ts'
import type { Pacing } from './pacing.ts'
import { withQuota } from './quota.ts'
import { withRateLimit } from './rate-limit.ts'
import { withRetry } from './retry.ts'

export interface GuardedOptions {
  readonly perSecond: number
  readonly queueTimeoutMs: number
  readonly timeoutMs: number
}

export interface GuardedParts {
  readonly source: Source
  /** Null without a quota. */
  readonly quota: { readonly budget: Budget; readonly pacing: Pacing } | null
  readonly apiKey: () => string
  readonly clock: Clock
  readonly observer: Observer
  readonly random: () => number
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
  const limited = withRateLimit(charged, options, clock)
  const retried = withRetry(limited.source, options, parts)
  const breaker = withBreaker(withCoolDown(retried, parts), parts)
  return { source: breaker.source, queued: limited.queueLength, circuit: breaker.state }
}
