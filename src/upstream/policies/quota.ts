import { ClientQuotaError, ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import type { LoadOptions, Policy } from '../../source.ts'
import { UpstreamError } from '../outcomes.ts'
import type { QuotaClient } from '../state/client-calls.ts'
import type { QuotaLedger } from '../state/quota-ledger.ts'

export interface QuotaPolicyDeps {
  readonly ledger: QuotaLedger
  /** Counts a call that was charged (1) or refunded (-1) in ledgers that are not in force. */
  readonly countInOthers?: (calls: 1 | -1) => void
  readonly pacing: { readonly isRationing: () => boolean }
  readonly observer: Pick<Observer, 'quotaSpent' | 'clientLimited' | 'upstreamHeldBack'>
  /** The part of the quota that one client may start calls for, from 0 to 1. */
  readonly clientShare?: number
  /** Whether clients have names; else an address identifies them, which is no label. */
  readonly hasNamedClients?: boolean
  /** The number of clients that have names. */
  readonly clientCount?: () => number
}

const MARK = Symbol('mark')
type MarkedOptions = LoadOptions & { readonly [MARK]?: object }

/** Shares of the quota, in percent, at which an event is emitted. */
const THRESHOLDS = [50, 80, 95, 100]

/**
 * Charges every call to the quota before it is sent, and sends none that the quota does not allow. A call that upstream
 * cannot have seen is refunded.
 */
export class QuotaPolicy {
  readonly #deps: QuotaPolicyDeps
  /** Marks of the calls that were found affordable and are not charged yet. */
  readonly #uncharged = new Set<object>()
  /** The highest threshold that was reported in the period that ends at `#resetAtMs`. */
  #reported = 0
  #resetAtMs: number

  constructor(deps: QuotaPolicyDeps) {
    this.#deps = deps
    this.#resetAtMs = deps.ledger.resetAtMs
  }

  /**
   * Rejects a call that cannot be afforded before it takes a token or waits for one. Charges nothing: what is charged is
   * only known when the call is sent.
   */
  readonly check: Policy = (next) => async (id, options) => {
    const client = this.#clientOf(options)
    const waitMs = this.#waitMs(options, client)
    if (waitMs > 0) throw this.#exhausted(waitMs, client)
    const mark = {}
    this.#uncharged.add(mark)
    try {
      return await next(id, { ...options, [MARK]: mark } as MarkedOptions)
    } finally {
      this.#uncharged.delete(mark)
    }
  }

  readonly policy: Policy = (next) => async (id, options) => {
    const { ledger, countInOthers = () => {} } = this.#deps
    const { [MARK]: mark } = options as MarkedOptions
    if (mark !== undefined) this.#uncharged.delete(mark)
    const client = this.#clientOf(options)
    const { period } = ledger
    const acquiring = ledger.acquire(options.hasStale, this.#deps.pacing.isRationing(), client)
    const waitMs = typeof acquiring === 'number' ? acquiring : await acquiring
    if (waitMs > 0) throw this.#exhausted(waitMs, client)
    const chargedPeriod = ledger.period
    countInOthers(1)
    this.#reportThreshold()
    try {
      return await next(id, options)
    } catch (error) {
      const isUnsent = error instanceof UpstreamError && !error.sent
      if (isUnsent && period === chargedPeriod) {
        ledger.refund(period, client?.id ?? null)
        countInOthers(-1)
      }
      throw error
    }
  }

  /** Whether `check` would pass such a call now. */
  isAffordable(options: LoadOptions): boolean {
    return this.#waitMs(options, this.#clientOf(options)) <= 0
  }

  #waitMs({ hasStale }: LoadOptions, client: QuotaClient | null): number {
    const { ledger, pacing } = this.#deps
    return ledger.waitMs({ hasStale, rationed: pacing.isRationing(), client }, this.#uncharged.size)
  }

  /**
   * A client with a name that has started fewer calls than its part of those spent is not rationed, so that it need not
   * wait because of what others spend. Of addresses there are too many: each new one would be such a client.
   */
  #clientOf({ client }: LoadOptions): QuotaClient | null {
    const { ledger, clientShare = 1, hasNamedClients = false, clientCount = () => 1 } = this.#deps
    if (client === undefined || clientShare >= 1) return null
    const part = Math.min(clientShare, 1 / Math.max(1, clientCount()))
    return { id: client, limit: Math.floor(ledger.limit * clientShare), ...(hasNamedClients && { part }) }
  }

  #exhausted(waitMs: number, client: QuotaClient | null): ServiceError {
    const { ledger, observer, hasNamedClients = false } = this.#deps
    observer.upstreamHeldBack('quota')
    if (client !== null && ledger.remaining >= 1 && ledger.callsOf(client.id) >= client.limit) {
      observer.clientLimited('quota', hasNamedClients ? client.id : null)
      return new ClientQuotaError(waitMs)
    }
    const reason = ledger.remaining < 1 ? 'the quota of the period is spent' : 'pacing delays the call'
    return new ServiceError('QuotaExhausted', { reason, retryAfterMs: waitMs })
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
