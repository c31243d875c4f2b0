import type { Clock } from '../../lib/clock.ts'
import type { QuotaLedger, QuotaLimit, QuotaUsage } from './quota-ledger.ts'
import { initiallyReleased, LocalQuota, nextPeriod, RESERVED_SHARE } from './quota-ledger.ts'

/** A change of the usage that all replicas share, and what the store needs to know of the replica that makes it. */
export interface QuotaUpdate {
  readonly per: QuotaLimit['per']
  readonly limit: number
  /** Calls released at the start of a period. */
  readonly initial: number
  /** When periods end, in ms since the epoch, ascending; the first that is not over is the current one. */
  readonly periodEnds: readonly number[]
  readonly change:
    | { readonly kind: 'none' }
    /** `leave` is the share of the remaining calls that this call leaves to others; null if calls are not rationed. */
    | { readonly kind: 'acquire'; readonly leave: number | null }
    | { readonly kind: 'refund'; readonly periodEndsAtMs: number }
  /** The usage that this replica last saw: the store continues from it if it has lost its own. */
  readonly lastSeen: { readonly spent: number; readonly periodEndsAtMs: number }
  /**
   * Calls that this replica has spent in all of a period while the store could not be reached. They are sent with
   * every update and count once. `reported` of them were in an earlier update: if the store has lost its usage, the
   * `lastSeen` of other replicas includes those.
   */
  readonly unreported: { readonly calls: number; readonly reported: number; readonly periodEndsAtMs: number }
}

/** The usage that all replicas share. Nothing here rejects, and nothing takes long. */
export interface QuotaStore {
  readonly isUp: boolean
  /** `waitMs` is 0 unless a call could not be acquired. Null while the store cannot be reached. */
  apply(update: QuotaUpdate): Promise<(QuotaUsage & { readonly waitMs: number }) | null>
}

export interface SharedQuotaDeps {
  readonly store: QuotaStore
  readonly clock: Pick<Clock, 'wall' | 'after'>
  /** This replica's part of the limit while the store cannot be reached, from 0 to 1. */
  readonly share: number
}

/** How often a replica reads the usage of all replicas, even if it makes no call. */
const SYNC_EVERY_MS = 2_000
/** The clocks of replicas and of the store may differ by this. */
const MAX_SKEW_MS = 12 * 3_600_000

/**
 * One quota for all replicas. The replica's own ledger follows the store. While the store cannot be reached, each
 * replica spends its share of what was left when it last saw the usage, and reports those calls afterwards.
 */
export class SharedQuota implements QuotaLedger {
  readonly limit: number
  readonly #options: QuotaLimit
  readonly #store: QuotaStore
  readonly #clock: SharedQuotaDeps['clock']
  readonly #local: LocalQuota
  #unreported: QuotaUpdate['unreported'] = { calls: 0, reported: 0, periodEndsAtMs: 0 }
  #cancelSync: () => void = () => {}

  constructor(options: QuotaLimit, { store, clock, share }: SharedQuotaDeps) {
    this.limit = options.limit
    this.#options = options
    this.#store = store
    this.#clock = clock
    this.#local = new LocalQuota(options, clock, share)
  }

  get spent(): number {
    return this.#local.spent
  }

  get remaining(): number {
    return this.#store.isUp ? Math.max(0, this.limit - this.spent) : this.#local.remaining
  }

  get resetAtMs(): number {
    return this.#local.resetAtMs
  }

  async acquire(hasStale: boolean, rationed: boolean): Promise<number> {
    const leave = rationed ? (hasStale ? RESERVED_SHARE : 0) : null
    const sharedWaitMs = await this.#apply({ kind: 'acquire', leave })
    if (sharedWaitMs !== null) return sharedWaitMs
    const waitMs = this.#local.acquire(hasStale, rationed)
    if (waitMs === 0) this.#countUnreported(1, this.resetAtMs)
    return waitMs
  }

  refund(periodEndsAtMs: number): void {
    if (this.#store.isUp) {
      void this.#apply({ kind: 'refund', periodEndsAtMs })
      return
    }
    this.#local.refund(periodEndsAtMs)
    this.#countUnreported(-1, periodEndsAtMs)
  }

  /** Takes over what was spent under another limit of the same period. */
  continueFrom(previous: SharedQuota): void {
    this.#local.continueFrom(previous.#local)
    this.#unreported = previous.#unreported
  }

  /** Reads the usage of all replicas, now and regularly until it is stopped. */
  start(): void {
    this.#cancelSync()
    void this.#apply({ kind: 'none' })
    this.#cancelSync = this.#clock.after(SYNC_EVERY_MS, () => {
      this.start()
    })
  }

  stop(): void {
    this.#cancelSync()
  }

  /** @returns the ms to wait for a call, or null while the store cannot be reached */
  async #apply(change: QuotaUpdate['change']): Promise<number | null> {
    if (!this.#store.isUp) return null
    const { limit, per } = this.#options
    const unreported = this.#unreported
    const usage = await this.#store.apply({
      limit,
      per,
      change,
      initial: initiallyReleased(limit),
      periodEnds: this.#periodEnds(),
      lastSeen: { spent: this.spent, periodEndsAtMs: this.resetAtMs },
      unreported,
    })
    if (usage === null) return null
    this.#markReported(unreported)
    this.#local.sync(usage)
    return usage.waitMs
  }

  #countUnreported(calls: number, periodEndsAtMs: number): void {
    const current = this.#unreported
    const before = current.periodEndsAtMs === periodEndsAtMs ? current : { calls: 0, reported: 0 }
    this.#unreported = { calls: before.calls + calls, reported: before.reported, periodEndsAtMs }
  }

  #markReported({ calls, periodEndsAtMs }: QuotaUpdate['unreported']): void {
    if (this.#unreported.periodEndsAtMs === periodEndsAtMs) {
      this.#unreported = { ...this.#unreported, reported: calls }
    }
  }

  #periodEnds(): number[] {
    const now = this.#clock.wall()
    return [now - MAX_SKEW_MS, now, now + MAX_SKEW_MS].map((at) => nextPeriod(at, this.#options.per))
  }
}
