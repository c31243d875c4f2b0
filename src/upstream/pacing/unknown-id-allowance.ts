import type { Clock } from '../../lib/clock.ts'
import type { PacedQuota } from './call-plan.ts'

/** Of the quota, for calls that find no station; refilled evenly over the period. */
const SHARE_OF_QUOTA = 0.05
/** Of the quota, at most saved up. */
const MAX_SAVED_SHARE = 0.01
/** Of a call: what a refill in many steps may lose. */
const ROUNDING = 1e-9

export interface UnknownIdCharge {
  /** Calls that found no station: 0 only reads. */
  readonly charged: number
  readonly refillPerMs: number
}

/** What all replicas have charged and was not refilled yet. Nothing here rejects, and nothing takes long. */
export interface UnknownIdStore {
  /** The calls charged and not refilled, this charge included; null while the store cannot be reached. */
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
 * ended; a station that exists costs nothing. The calls then in flight may exceed the allowance: the refill pays for them
 * first. While nothing is left, ids without a known station are not called for.
 *
 * What was charged is counted, not what is left, so that another limit applies at once.
 */
export class UnknownIdAllowance {
  readonly #deps: UnknownIdAllowanceDeps
  /** Calls charged and not refilled yet. */
  #outstanding = 0
  #refilledAt: number

  constructor(deps: UnknownIdAllowanceDeps) {
    this.#deps = deps
    this.#refilledAt = deps.clock.now()
  }

  /** Calls that may still find no station. */
  get remaining(): number {
    return Math.max(0, this.#maxSaved - this.#refill())
  }

  /** Takes over what all replicas have charged, if that is shared. */
  async sync(): Promise<void> {
    await this.#apply(0)
  }

  /**
   * 0 when an unknown id may be called for, else the time in ms until one may. `inAdvance`: so many calls may be taken
   * before they are refilled.
   */
  waitMs(inAdvance = 0): number {
    if (this.#refillPerMs === 0) return Number.POSITIVE_INFINITY
    const maxSaved = this.#maxSaved
    const excess = this.#refill() - (maxSaved - Math.min(1, maxSaved)) - inAdvance - ROUNDING
    return excess <= 0 ? 0 : Math.ceil(excess / this.#refillPerMs)
  }

  /** A call found no station. */
  charge(): void {
    this.#outstanding = this.#refill() + 1
    void this.#apply(1)
  }

  async #apply(charged: number): Promise<void> {
    const { store = null, clock } = this.#deps
    const outstanding = store === null ? null : await store.apply({ charged, refillPerMs: this.#refillPerMs })
    if (outstanding === null) return
    // A store that has more than a period refills is wrong.
    this.#outstanding = Math.max(0, Math.min(outstanding, Math.max(1, this.#limit * SHARE_OF_QUOTA)))
    this.#refilledAt = clock.now()
  }

  #refill(): number {
    const now = this.#deps.clock.now()
    const refilled = (now - this.#refilledAt) * this.#refillPerMs
    this.#outstanding = Math.max(0, this.#outstanding - refilled)
    this.#refilledAt = now
    return this.#outstanding
  }

  get #limit(): number {
    return this.#deps.quota.spent + this.#deps.quota.remaining
  }

  get #maxSaved(): number {
    return this.#limit * MAX_SAVED_SHARE
  }

  get #refillPerMs(): number {
    return (this.#limit * SHARE_OF_QUOTA) / PERIOD_MS[this.#deps.quota.per]
  }
}

/** A month of mean length: the refill need not be exact, only even. */
const PERIOD_MS = { day: 86_400_000, month: 30.4 * 86_400_000 } as const
