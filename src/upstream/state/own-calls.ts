/**
 * Calls that this replica has spent in all of a period while the store could not be reached. They are sent with every
 * update and count once. `reported` of them were in an earlier update: if the store has lost its account, what this
 * replica last saw includes those. A null period is the current one: the replica never saw the store's clock.
 */
export interface UnreportedCalls {
  readonly calls: number
  readonly reported: number
  readonly period: string | null
}

/**
 * All calls of a period that this replica has made since its start, with and without the store, and those of them that
 * were refunded. A count that is lower than the sum of these over the replicas has lost calls.
 */
export interface MadeCalls {
  readonly charged: number
  readonly refunded: number
  readonly period: string | null
}

/** What one replica has spent of the shared quota in a period, by its own count. A null period is the current one. */
export class OwnCalls {
  #unreported: UnreportedCalls = { calls: 0, reported: 0, period: null }
  #made: MadeCalls = { charged: 0, refunded: 0, period: null }

  get unreported(): UnreportedCalls {
    return this.#unreported
  }

  get made(): MadeCalls {
    return this.#made
  }

  /** Calls of this period that no reply includes; never negative. */
  unreportedIn(name: string): number {
    const { calls, reported, period } = this.#unreported
    return period === null || period === name ? Math.max(0, calls - reported) : 0
  }

  /** The store has charged a call, or refunded one (-1). */
  countShared(calls: 1 | -1, period: string): void {
    this.#count(calls, period)
  }

  /** A call was spent while the store could not be reached, or one was refunded (-1). */
  countAlone(calls: 1 | -1, period: string | null): void {
    const current = this.#unreported
    const before = current.period === period ? current : { calls: 0, reported: 0 }
    this.#unreported = { calls: before.calls + calls, reported: before.reported, period }
    this.#count(calls, period)
  }

  /** A reply includes these calls; `current` is its period. */
  markReported({ calls, period }: UnreportedCalls, current: string): void {
    if (this.#made.period === null) this.#made = { ...this.#made, period: current }
    if (this.#unreported.period !== period) return
    this.#unreported = { ...this.#unreported, reported: calls, period: period ?? current }
  }

  #count(calls: 1 | -1, period: string | null): void {
    const { charged, refunded } = this.#made.period === period ? this.#made : { charged: 0, refunded: 0 }
    this.#made =
      calls === 1 ? { charged: charged + 1, refunded, period } : { charged, refunded: refunded + 1, period }
  }
}
