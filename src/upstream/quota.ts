import type { Source } from '../availability/model.ts'
import { ServiceError } from '../errors.ts'
import type { Observer } from '../observer.ts'
import type { Purse } from './budget.ts'
import type { Pacing } from './pacing.ts'
import { UpstreamError } from './upstream-error.ts'

/** Shares of the quota, in percent, at which the operator is told. */
const THRESHOLDS = [50, 80, 95, 100]

/**
 * Charges every call that is sent to the budget, and sends none that cannot be afforded. A call that upstream cannot
 * have seen is not charged.
 */
export function withQuota(
  inner: Source,
  budget: Purse,
  pacing: Pick<Pacing, 'isRationing'>,
  observer: Pick<Observer, 'quotaSpent'>,
): Source {
  let told = 0
  let resetAt = budget.resetAtMs

  const tellThreshold = () => {
    if (budget.resetAtMs !== resetAt) told = 0
    resetAt = budget.resetAtMs
    const percent = THRESHOLDS.findLast((threshold) => budget.spent >= (budget.limit * threshold) / 100)
    if (percent === undefined || percent <= told) return
    told = percent
    observer.quotaSpent(percent, budget.remaining, new Date(resetAt))
  }

  return async (id, call) => {
    const period = budget.resetAtMs
    const taking = budget.take(call.held, pacing.isRationing())
    const waitMs = typeof taking === 'number' ? taking : await taking
    if (waitMs > 0) throw cannotAfford(waitMs, budget)
    tellThreshold()
    try {
      return await inner(id, call)
    } catch (error) {
      if (error instanceof UpstreamError && !error.sent) budget.giveBack(period)
      throw error
    }
  }
}

function cannotAfford(retryAfterMs: number, { remaining }: Purse): ServiceError {
  const reason = remaining < 1 ? 'the quota of the period is spent' : 'pacing holds the call back for later'
  return new ServiceError('QuotaExhausted', { reason, retryAfterMs })
}
