import type { Clock } from '../../lib/clock.ts'
import type { PacedQuota } from './call-plan.ts'

/** Of the quota, for calls that find no station; refilled evenly over the period. */
const SHARE_OF_QUOTA = 0.05
/** Of the quota, at most saved up. */
const MAX_SAVED_SHARE = 0.01
/** Of a call: what a refill in many steps may lose. */
const ROUNDING = 1e-9

export interface UnknownIdCharge {
  /** Calls that found no station: 0 only reads the balance. */
  readonly charged: number
  readonly maxBalance: number
  readonly refillPerMs: number
}

/** The balance that all replicas share. Nothing here rejects, and nothing takes long. */
export interface UnknownIdStore {
  /** The balance after the charge; null while the store cannot be reached. */
  apply(charge: UnknownIdCharge): Promise<number | null>
}

export interface UnknownIdAllowanceDeps {
  readonly quota: Pick<PacedQuota, 'spent' | 'remaining' | 'per'>
  readonly clock: Pick<Clock, 'now'>
  /** Null where nothing is shared. */
  readonly store?: UnknownIdStore | null
}

/**
 * Limits the calls for made-up ids. A call that found no station (an empty answer, 400 or 404) is charged after it has
 * ended; a station that exists costs nothing. The balance may fall below zero by the calls then in flight: it is a debt
 * that the refill pays first. While nothing is left, ids without a known station are not called for.
 */
export class UnknownIdAllowance {
  readonly #deps: UnknownIdAllowanceDeps
  #balance: number
  #refilledAt: number

  constructor(deps: UnknownIdAllowanceDeps) {
    this.#deps = deps
    this.#balance = this.#maxBalance
    this.#refilledAt = deps.clock.now()
  }

  /** Calls that may still find no station. */
  get remaining(): number {
    return Math.max(0, this.#refill())
  }

  /** Takes over the balance of all replicas, if one is shared. */
  async sync(): Promise<void> {
    await this.#apply(0)
  }

  /** 0 when an unknown id may be called for, else the time in ms until one may. */
  waitMs(): number {
    if (this.#refillPerMs === 0) return Number.POSITIVE_INFINITY
    const missing = Math.min(1, this.#maxBalance) - this.#refill() - ROUNDING
    return missing <= 0 ? 0 : Math.ceil(missing / this.#refillPerMs)
  }

  /** A call found no station. */
  charge(): void {
    this.#balance = this.#refill() - 1
    void this.#apply(1)
  }

  async #apply(charged: number): Promise<void> {
    const { store = null, clock } = this.#deps
    const [maxBalance, refillPerMs] = [this.#maxBalance, this.#refillPerMs]
    const balance = store === null ? null : await store.apply({ charged, maxBalance, refillPerMs })
    if (balance === null) return
    this.#balance = balance
    this.#refilledAt = clock.now()
  }

  #refill(): number {
    const now = this.#deps.clock.now()
    const refilled = this.#balance + (now - this.#refilledAt) * this.#refillPerMs
    this.#balance = Math.min(this.#maxBalance, refilled)
    this.#refilledAt = now
    return this.#balance
  }

  get #limit(): number {
    return this.#deps.quota.spent + this.#deps.quota.remaining
  }

  get #maxBalance(): number {
    return this.#limit * MAX_SAVED_SHARE
  }

  get #refillPerMs(): number {
    return (this.#limit * SHARE_OF_QUOTA) / PERIOD_MS[this.#deps.quota.per]
  }
}

/** A month of mean length: the refill need not be exact, only even. */
const PERIOD_MS = { day: 86_400_000, month: 30.4 * 86_400_000 } as const
