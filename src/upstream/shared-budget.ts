import type { Clock } from '../clock.ts'
import type { Account, BudgetOptions, Purse } from './budget.ts'
import { Budget, initiallyReleased, nextPeriod, RESERVED_SHARE } from './budget.ts'

/** What a replica asks of the account that all of them share. */
export interface Order {
  readonly per: BudgetOptions['per']
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
  readonly known: { readonly spent: number; readonly periodEndsAtMs: number }
  /**
   * What this replica has spent by itself in all of a period. Told again and again, it counts once. Of that it has `told`
   * so much: should the account have been lost, the others remember that part.
   */
  readonly spentAlone: { readonly calls: number; readonly told: number; readonly periodEndsAtMs: number }
}

/** The account of all replicas. */
export interface Ledger {
  readonly isUp: boolean
  /** `waitMs` is 0 unless a call could not be taken. Null while the account cannot be reached. */
  settle(order: Order): Promise<(Account & { readonly waitMs: number }) | null>
}

/** So often a replica hears what the others have spent, even if it spends nothing. */
const SYNC_EVERY_MS = 2_000
/** Clocks of replicas and of the ledger may differ by this. */
const LARGEST_SKEW_MS = 12 * 3_600_000

/**
 * One budget for all replicas. While the ledger is away, each spends its share of what was left when it was last
 * heard of, and the ledger is told of that when it is back.
 */
export class SharedBudget implements Purse {
  readonly limit: number
  readonly #options: BudgetOptions
  readonly #ledger: Ledger
  readonly #clock: Pick<Clock, 'wall' | 'after'>
  /** What is known of all replicas' spending; the purse itself while the ledger is away. */
  readonly #own: Budget
  #spentAlone: Order['spentAlone'] = { calls: 0, told: 0, periodEndsAtMs: 0 }
  #stop: () => void = () => {}

  constructor(
    options: BudgetOptions,
    parts: {
      readonly ledger: Ledger
      readonly clock: Pick<Clock, 'wall' | 'after'>
      /** This replica's part of the limit while the ledger is away, from 0 to 1. */
      readonly share: number
    },
  ) {
    this.limit = options.limit
    this.#options = options
    this.#ledger = parts.ledger
    this.#clock = parts.clock
    this.#own = new Budget(options, parts.clock, parts.share)
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

  async take(isRefresh: boolean, rationed: boolean): Promise<number> {
    const waitMs = await this.#settle({
      kind: 'take',
      leave: rationed ? (isRefresh ? RESERVED_SHARE : 0) : null,
    })
    if (waitMs !== null) return waitMs
    const aloneMs = this.#own.take(isRefresh, rationed)
    if (aloneMs === 0) this.#countAlone(1, this.resetAtMs)
    return aloneMs
  }

  giveBack(periodEndsAtMs: number): void {
    if (this.#ledger.isUp) {
      void this.#settle({ kind: 'give back', periodEndsAtMs })
      return
    }
    this.#own.giveBack(periodEndsAtMs)
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
  async #settle(change: Order['change']): Promise<number | null> {
    if (!this.#ledger.isUp) return null
    const { limit, per } = this.#options
    const spentAlone = this.#spentAlone
    const settled = await this.#ledger.settle({
      limit,
      per,
      change,
      initial: initiallyReleased(limit),
      periodEnds: this.#periodEnds(),
      known: { spent: this.spent, periodEndsAtMs: this.resetAtMs },
      spentAlone,
    })
    if (settled === null) return null
    this.#noteTold(spentAlone)
    this.#own.learn(settled)
    return settled.waitMs
  }

  #countAlone(calls: number, periodEndsAtMs: number): void {
    const present = this.#spentAlone
    const before = present.periodEndsAtMs === periodEndsAtMs ? present : { calls: 0, told: 0 }
    this.#spentAlone = { calls: before.calls + calls, told: before.told, periodEndsAtMs }
  }

  #noteTold({ calls, periodEndsAtMs }: Order['spentAlone']): void {
    if (this.#spentAlone.periodEndsAtMs === periodEndsAtMs)
      this.#spentAlone = { ...this.#spentAlone, told: calls }
  }

  #periodEnds(): number[] {
    const now = this.#clock.wall()
    return [now - LARGEST_SKEW_MS, now, now + LARGEST_SKEW_MS].map((at) => nextPeriod(at, this.#options.per))
  }
}
