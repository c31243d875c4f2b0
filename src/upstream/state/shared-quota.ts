import type { Clock } from '../../lib/clock.ts'
import { pause } from '../../lib/clock.ts'
import type { QuotaClient } from './client-calls.ts'
import type { QuotaLedger, QuotaLimit, QuotaRequest } from './quota-ledger.ts'
import type { QuotaReply, QuotaStore, QuotaUpdate } from './quota-store.ts'
import { OwnCalls } from './own-calls.ts'
import { LocalQuota, RESERVED_SHARE } from './quota-ledger.ts'

export interface SharedQuotaDeps {
  readonly store: QuotaStore
  readonly clock: Pick<Clock, 'now' | 'wall' | 'after'>
  /** This replica's part of the limit while the store cannot be reached, from 0 to 1. */
  readonly share: number
}

/** How often a replica reads the usage of all replicas, even if it makes no call. */
const SYNC_EVERY_MS = 1_000
/**
 * After an account was lost, calls are held back until this long after the next account began, so that every replica
 * that can reach the store has reported what it saw.
 */
export const RECOVERY_MS = 1_200
/** The longest wait for that, whatever the store replies. */
const MAX_HOLD_MS = 2 * RECOVERY_MS

/**
 * One quota for all replicas. The replica's own ledgers follow the store. While the store cannot be reached, each
 * replica spends its share of what was left when it last saw the usage, and reports those calls afterwards.
 */
export class SharedQuota implements QuotaLedger {
  readonly per: QuotaLimit['per']
  readonly #store: QuotaStore
  readonly #clock: SharedQuotaDeps['clock']
  /** The store's clock, continued on the monotonic clock; null before the first reply. */
  #storeTime: { readonly wallMs: number; readonly at: number } | null = null
  /** The usage of all replicas, as last seen. */
  readonly #all: LocalQuota
  /** What this replica may spend while the store cannot be reached. */
  readonly #own: LocalQuota
  #lastSeen: QuotaUpdate['lastSeen'] = null
  /** What the count in the store was when this replica first saw it, without its own call of that moment. */
  spentBefore = 0
  readonly #calls = new OwnCalls()
  #cancelSync: () => void = () => {}

  constructor(options: QuotaLimit, { store, clock, share }: SharedQuotaDeps) {
    this.per = options.per
    this.#store = store
    this.#clock = clock
    const storeClock = { now: () => clock.now(), wall: () => this.#wall() }
    this.#all = new LocalQuota(options, storeClock)
    this.#own = new LocalQuota(options, storeClock, share)
  }

  get limit(): number {
    return this.#current.limit
  }

  get spent(): number {
    return this.#current.spent + this.#uncounted
  }

  get remaining(): number {
    return Math.max(0, this.#current.remaining - this.#uncounted)
  }

  get released(): number {
    return this.#current.released
  }

  get period(): string {
    return this.#current.period
  }

  get resetAtMs(): number {
    return this.#current.resetAtMs
  }

  /** Identifies the account in the store; null before the first reply. */
  get account(): string | null {
    return this.#lastSeen?.account ?? null
  }

  callsOf(client: string): number {
    return this.#current.callsOf(client)
  }

  waitMs(request: QuotaRequest, ahead: number): number {
    return this.#current.waitMs(request, ahead + this.#uncounted)
  }

  async acquire(hasStale: boolean, rationed: boolean, client: QuotaClient | null = null): Promise<number> {
    const leave = rationed ? (hasStale ? RESERVED_SHARE : 0) : null
    const change = { kind: 'acquire', leave, client } as const
    let reply = await this.#apply(change)
    if (reply !== null && reply.holdMs > 0) {
      await pause(this.#clock, Math.min(reply.holdMs, MAX_HOLD_MS))
      reply = await this.#apply(change)
    }
    if (reply !== null) return reply.waitMs
    const waitMs = this.#own.acquire(hasStale, rationed, client)
    if (waitMs === 0) this.#calls.countAlone(1, this.#knownPeriod)
    return waitMs
  }

  refund(period: string, client: string | null = null): void {
    if (this.#store.isUp) {
      void this.#apply({ kind: 'refund', period, client })
      return
    }
    if (period !== this.#own.period) return
    this.#own.refund(period, client)
    this.#calls.countAlone(-1, this.#knownPeriod)
  }

  /** Like that of LocalQuota. It is reported with the next update. */
  count(calls: 1 | -1): void {
    if (this.#own.count(calls)) this.#calls.countAlone(calls, this.#knownPeriod)
  }

  /** Another limit keeps what was spent. */
  changeLimit(limit: number): void {
    this.#all.changeLimit(limit)
    this.#own.changeLimit(limit)
  }

  /** Reads the usage of all replicas, now and regularly until it is stopped. */
  start(): void {
    this.#cancelSync()
    void this.#apply({ kind: 'none' })
    this.#cancelSync = this.#clock.after(SYNC_EVERY_MS, () => this.start())
  }

  stop(): void {
    this.#cancelSync()
  }

  get #current(): LocalQuota {
    return this.#store.isUp ? this.#all : this.#own
  }

  /** Calls that `#current` does not include yet: those spent without it, when the store has just returned. */
  get #uncounted(): number {
    return this.#store.isUp ? this.#calls.unreportedIn(this.#all.period) : 0
  }

  /** Null while the store cannot be reached. */
  async #apply(change: QuotaUpdate['change']): Promise<QuotaReply | null> {
    if (!this.#store.isUp) return null
    const { unreported, made } = this.#calls
    const { limit } = this.#all
    const lastSeen = this.#lastSeen
    const reply = await this.#store.apply({ limit, per: this.per, change, lastSeen, unreported, made })
    if (reply === null) return null
    this.#calls.markReported(unreported, reply.period.name)
    this.#countOwn(reply, change)
    this.#follow(reply, change)
    return reply
  }

  #follow(reply: QuotaReply, change: QuotaUpdate['change']): void {
    const { account, charged, spent, clientCalls, period, nowMs, processes = 1 } = reply
    this.#storeTime = { wallMs: nowMs, at: this.#clock.now() }
    const isSame = this.#lastSeen?.account === account && this.#lastSeen.period === period.name
    const most = isSame ? Math.max(this.#lastSeen?.charged ?? 0, charged) : charged
    if (!isSame) this.spentBefore = spent - (change.kind === 'acquire' && reply.waitMs === 0 ? 1 : 0)
    this.#lastSeen = { account, period: period.name, charged: most, spent }
    // Calls that were spent without the store since the update was sent: only `#own` includes them before they are reported.
    const since = this.#calls.unreportedIn(period.name)
    const own = { ...reply, spent: spent + since, released: Math.max(0, reply.released - since) }
    this.#all.sync(reply)
    this.#own.sync(own, 1 / processes)
    const client = change.kind === 'acquire' ? change.client?.id : undefined
    if (client === undefined || clientCalls === null) return
    for (const ledger of [this.#all, this.#own]) ledger.syncClient(client, clientCalls)
  }

  #countOwn({ waitMs, period: { name } }: QuotaReply, change: QuotaUpdate['change']): void {
    if (change.kind === 'acquire' && waitMs === 0) this.#calls.countShared(1, name)
    if (change.kind === 'refund' && change.period === name) this.#calls.countShared(-1, name)
  }

  /** Null while the period of the store is not known. */
  get #knownPeriod(): string | null {
    return this.#storeTime === null ? null : this.#own.period
  }

  #wall(): number {
    const known = this.#storeTime
    return known === null ? this.#clock.wall() : known.wallMs + (this.#clock.now() - known.at)
  }
}
