import { ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import type { Policy } from '../../source.ts'
import { UpstreamError } from '../outcomes.ts'
import type { Pacing } from '../pacing/pacer.ts'
import type { QuotaLedger } from '../state/quota-ledger.ts'

export interface QuotaPolicyDeps {
  readonly ledger: QuotaLedger
  readonly pacing: Pick<Pacing, 'isRationing'>
  readonly observer: Pick<Observer, 'quotaSpent'>
}

/** Shares of the quota, in percent, at which an event is emitted. */
const THRESHOLDS = [50, 80, 95, 100]

/**
 * Charges every call to the quota before it is sent, and sends none that the quota does not allow. A call that upstream
 * cannot have seen is refunded.
 */
export class QuotaPolicy {
  readonly #deps: QuotaPolicyDeps
  /** The highest threshold that was reported in the period that ends at `#resetAtMs`. */
  #reported = 0
  #resetAtMs: number

  constructor(deps: QuotaPolicyDeps) {
    this.#deps = deps
    this.#resetAtMs = deps.ledger.resetAtMs
  }

  readonly policy: Policy = (next) => async (id, options) => {
    const { ledger, pacing } = this.#deps
    const { period } = ledger
    const acquiring = ledger.acquire(options.hasStale, pacing.isRationing())
    const waitMs = typeof acquiring === 'number' ? acquiring : await acquiring
    if (waitMs > 0) throw quotaExhausted(waitMs, ledger)
    const chargedPeriod = ledger.period
    this.#reportThreshold()
    try {
      return await next(id, options)
    } catch (error) {
      if (error instanceof UpstreamError && !error.sent && period === chargedPeriod) ledger.refund(period)
      throw error
    }
  }

  #reportThreshold(): void {
    const { ledger, observer } = this.#deps
    if (ledger.resetAtMs !== this.#resetAtMs) this.#reported = 0
    this.#resetAtMs = ledger.resetAtMs
    const percent = THRESHOLDS.findLast((threshold) => ledger.spent >= (ledger.limit * threshold) / 100)
    if (percent === undefined || percent <= this.#reported) return
    this.#reported = percent
    observer.quotaSpent(percent, ledger.remaining, new Date(this.#resetAtMs))
  }
}

function quotaExhausted(retryAfterMs: number, { remaining }: QuotaLedger): ServiceError {
  const reason = remaining < 1 ? 'the quota of the period is spent' : 'pacing delays the call'
  return new ServiceError('QuotaExhausted', { reason, retryAfterMs })
}
