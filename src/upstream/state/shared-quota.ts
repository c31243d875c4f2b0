import type { Clock } from '../../lib/clock.ts'
import type { QuotaUsage, QuotaLimit, QuotaLedger } from './quota-ledger.ts'
import { LocalQuota, initiallyReleased, nextPeriod, RESERVED_SHARE } from './quota-ledger.ts'

/** What a replica asks of the account that all of them share. */
export interface QuotaUpdate {
  readonly per: QuotaLimit['per']
  readonly limit: number
  /** Calls released at the start of a period. */
  readonly initial: number
  /** When periods end, in ms since the epoch, ascending; the first that is not over is the present one. */
  readonly periodEnds: readonly number[]
  readonly change:
    | { readonly kind: 'none' }
    /** `leave` is the part of what remains that is not for this call; null if calls are not rationed. */
    | { readonly kind: 'take'; readonly leave: number | null }
    | { readonly kind: 'give back'; readonly periodEndsAtMs: number }
  /** What this replica has last heard of the account, should that have been lost. */
  readonly lastSeen: { readonly spent: number; readonly periodEndsAtMs: number }
  /**
   * What this replica has spent by itself in all of a period. Told again and again, it counts once. Of that it has `told`
   * so much: should the account have been lost, the others remember that part.
   */
  readonly unreported: { readonly calls: number; readonly reported: number; readonly periodEndsAtMs: number }
}

/** The account of all replicas. */
export interface QuotaStore {
  readonly isUp: boolean
  /** `waitMs` is 0 unless a call could not be taken. Null while the account cannot be reached. */
  apply(order: QuotaUpdate): Promise<(QuotaUsage & { readonly waitMs: number }) | null>
}

/** So often a replica hears what the others have spent, even if it spends nothing. */
const SYNC_EVERY_MS = 2_000
/** Clocks of replicas and of the ledger may differ by this. */
const LARGEST_SKEW_MS = 12 * 3_600_000

/**
 * One budget for all replicas. While the ledger is away, each spends its share of what was left when it was last
 * heard of, and the ledger is told of that when it is back.
 */
export class SharedQuota implements QuotaLedger {
  readonly limit: number
  readonly #options: QuotaLimit
  readonly #ledger: QuotaStore
  readonly #clock: Pick<Clock, 'wall' | 'after'>
  /** What is known of all replicas' spending; the purse itself while the ledger is away. */
  readonly #own: LocalQuota
  #spentAlone: QuotaUpdate['unreported'] = { calls: 0, reported: 0, periodEndsAtMs: 0 }
  #stop: () => void = () => {}

  constructor(
    options: QuotaLimit,
    parts: {
      readonly ledger: QuotaStore
      readonly clock: Pick<Clock, 'wall' | 'after'>
      /** This replica's part of the limit while the ledger is away, from 0 to 1. */
      readonly share: number
    },
  ) {
    this.limit = options.limit
    this.#options = options
    this.#ledger = parts.ledger
    this.#clock = parts.clock
    this.#own = new LocalQuota(options, parts.clock, parts.share)
  }

  get spent(): number {
    return this.#own.spent
  }

  get remaining(): number {
    return this.#ledger.isUp ? this.limit - this.spent : this.#own.remaining
  }

  get resetAtMs(): number {
    return this.#own.resetAtMs
  }

  async acquire(isRefresh: boolean, rationed: boolean): Promise<number> {
    const waitMs = await this.#settle({
      kind: 'take',
      leave: rationed ? (isRefresh ? RESERVED_SHARE : 0) : null,
    })
    if (waitMs !== null) return waitMs
    const aloneMs = this.#own.acquire(isRefresh, rationed)
    if (aloneMs === 0) this.#countAlone(1, this.resetAtMs)
    return aloneMs
  }

  refund(periodEndsAtMs: number): void {
    if (this.#ledger.isUp) {
      void this.#settle({ kind: 'give back', periodEndsAtMs })
      return
    }
    this.#own.refund(periodEndsAtMs)
    this.#countAlone(-1, periodEndsAtMs)
  }

  /** Hears what the others have spent, now and every other second, until it is stopped. */
  start(): void {
    this.#stop()
    void this.#settle({ kind: 'none' })
    this.#stop = this.#clock.after(SYNC_EVERY_MS, () => {
      this.start()
    })
  }

  stop(): void {
    this.#stop()
  }

  /** The ms to wait, or null while the ledger is away. */
  async #settle(change: QuotaUpdate['change']): Promise<number | null> {
    if (!this.#ledger.isUp) return null
    const { limit, per } = this.#options
    const spentAlone = this.#spentAlone
    const settled = await this.#ledger.apply({
      limit,
      per,
      change,
      initial: initiallyReleased(limit),
      periodEnds: this.#periodEnds(),
      lastSeen: { spent: this.spent, periodEndsAtMs: this.resetAtMs },
      unreported: spentAlone,
    })
    if (settled === null) return null
    this.#noteTold(spentAlone)
    this.#own.sync(settled)
    return settled.waitMs
  }

  #countAlone(calls: number, periodEndsAtMs: number): void {
    const present = this.#spentAlone
    const before = present.periodEndsAtMs === periodEndsAtMs ? present : { calls: 0, reported: 0 }
    this.#spentAlone = { calls: before.calls + calls, reported: before.reported, periodEndsAtMs }
  }

  #noteTold({ calls, periodEndsAtMs }: QuotaUpdate['unreported']): void {
    if (this.#spentAlone.periodEndsAtMs === periodEndsAtMs)
      this.#spentAlone = { ...this.#spentAlone, reported: calls }
  }

  #periodEnds(): number[] {
    const now = this.#clock.wall()
    return [now - LARGEST_SKEW_MS, now, now + LARGEST_SKEW_MS].map((at) => nextPeriod(at, this.#options.per))
  }
}
