import type { Source } from '../../source.ts'
import { ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import type { QuotaLedger } from '../state/quota-ledger.ts'
import type { Pacing } from '../pacing/pacer.ts'
import { UpstreamError } from '../outcomes.ts'

/** Shares of the quota, in percent, at which the operator is told. */
const THRESHOLDS = [50, 80, 95, 100]

/**
 * Charges every call that is sent to the budget, and sends none that cannot be afforded. A call that upstream cannot
 * have seen is not charged.
 */
export function withQuota(
  inner: Source,
  budget: QuotaLedger,
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
    const taking = budget.acquire(call.hasStale, pacing.isRationing())
    const waitMs = typeof taking === 'number' ? taking : await taking
    if (waitMs > 0) throw cannotAfford(waitMs, budget)
    tellThreshold()
    try {
      return await inner(id, call)
    } catch (error) {
      if (error instanceof UpstreamError && !error.sent) budget.refund(period)
      throw error
    }
  }
}

function cannotAfford(retryAfterMs: number, { remaining }: QuotaLedger): ServiceError {
  const reason = remaining < 1 ? 'the quota of the period is spent' : 'pacing holds the call back for later'
  return new ServiceError('QuotaExhausted', { reason, retryAfterMs })
}
