import type { QuotaLedger, QuotaLimit } from './quota-ledger.ts'

/** A ledger that can count calls of another one. */
export interface CountingLedger extends QuotaLedger {
  /** Counts a call that another ledger was charged (1) or refunded (-1). */
  count(calls: 1 | -1): unknown
  changeLimit(limit: number): void
}

/**
 * The ledgers of a process, one for each kind of period that was in force since its start. Each counts the calls of the
 * others: a quota per day that is replaced by one per month, and comes back the same day, has forgotten none.
 */
export class QuotaLedgers<L extends CountingLedger> {
  readonly #create: (quota: QuotaLimit) => L
  readonly #ledgers = new Map<QuotaLimit['per'], L>()

  constructor(create: (quota: QuotaLimit) => L) {
    this.#create = create
  }

  /** The ledger of a quota: the one of its kind with this limit, or a new one. */
  use(quota: QuotaLimit): L {
    const present = this.#ledgers.get(quota.per)
    if (present !== undefined) {
      present.changeLimit(quota.limit)
      return present
    }
    const created = this.#create(quota)
    this.#ledgers.set(quota.per, created)
    return created
  }

  /** Counts a call of this ledger in all others. */
  countInOthers(ledger: L, calls: 1 | -1): void {
    for (const other of this.#ledgers.values()) if (other !== ledger) other.count(calls)
  }

  all(): L[] {
    return [...this.#ledgers.values()]
  }
}
