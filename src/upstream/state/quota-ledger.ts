import type { Clock } from '../../lib/clock.ts'
import { catchesUp, ClientCalls } from './client-calls.ts'
import type { QuotaClient } from './client-calls.ts'
import type { QuotaPeriod, QuotaUsage } from './quota-period.ts'
import { initiallyReleased, PeriodClock } from './quota-period.ts'

/** Calls that an API key allows. */
export interface QuotaLimit {
  readonly limit: number
  /** Calendar period in UTC. */
  readonly per: 'day' | 'month'
}

/** Quota usage of the current period, as seen by the quota policy and by pacing. */
export interface QuotaLedger {
  readonly limit: number
  readonly per: QuotaLimit['per']
  readonly spent: number
  /** Calls that can still be spent, as far as this replica knows; never negative. */
  readonly remaining: number
  /** The name of the period, such as `2026-11-29/day`. */
  readonly period: string
  /** When the next period begins, in ms since the epoch. */
  readonly resetAtMs: number
  /**
   * Spends a call. With `rationed` only calls that are released can be spent, and one for a station with a stale answer
   * (`hasStale`) leaves the reserve to others. A call without `client` is charged to no client.
   * @returns 0 when the call is spent, else the time in ms until one can be
   */
  acquire(hasStale: boolean, rationed: boolean, client?: QuotaClient | null): number | Promise<number>
  /** What {@link acquire} would return after `ahead` other calls, as far as this replica knows. */
  waitMs(request: QuotaRequest, ahead: number): number
  /** Returns a call that was not sent to the period in which it was acquired, if that is still the current one. */
  refund(period: string, client?: string | null): void
  /** Calls of the period that this client's lookups started, as far as this replica knows. */
  callsOf(client: string): number
}

export interface QuotaRequest {
  readonly hasStale: boolean
  readonly rationed: boolean
  readonly client: QuotaClient | null
}

/** This share of the remaining calls is the reserve for stations without a cached answer. */
export const RESERVED_SHARE = 0.02
/** From the charge of a call to its refund at most. */
const MAX_CALL_MS = 60_000
/** What was taken over from another period is dropped at a jump of the clock after so long, if that jump lasts. */
const MAX_CARRIED_MS = 3_600_000
const JUMP_LASTS_MS = 60_000

/**
 * The quota of one replica; the limit is never exceeded. Calls can be rationed: some are released at the start of the
 * period, the rest evenly up to its end. Demand that is too high is then met in part all day, instead of in full until
 * the quota is exhausted.
 *
 * If the wall clock jumps into another period, what was spent is taken over: calls made before a clock was corrected may
 * belong to either.
 */
export class LocalQuota implements QuotaLedger {
  readonly per: QuotaLimit['per']
  readonly #clock: Pick<Clock, 'wall' | 'now'>
  readonly #share: number
  readonly #clients = new ClientCalls()
  readonly #periods: PeriodClock
  #limit: number
  /** Calls that this replica may bring the period to: the limit, or its share of what was left of it. */
  #ownLimit = 0
  #spent = 0
  /** Part of `#spent` that was spent under another period's name. */
  #carried = 0
  /** Part of `#carried` that is dropped if the present period lasts, and the period that it was taken over from. */
  #dropped = { calls: 0, name: '' }
  #namedAt = 0
  /** What was spent in the period before, in case the clock goes back to it. */
  #previous = { name: '', spent: 0 }
  #released = 0
  /** Up to when calls are released, on the monotonic clock. */
  #releasedAt: number

  /** `share` is this replica's part of the limit, from 0 to 1. */
  constructor({ limit, per }: QuotaLimit, clock: Pick<Clock, 'wall' | 'now'>, share = 1) {
    this.per = per
    this.#limit = limit
    this.#clock = clock
    this.#share = share
    this.#periods = new PeriodClock(per, clock)
    this.#releasedAt = clock.now()
    this.#begin()
  }

  get limit(): number {
    return this.#limit
  }

  get spent(): number {
    this.#catchUp()
    return this.#spent
  }

  get remaining(): number {
    this.#catchUp()
    return this.#left
  }

  /** Calls that are released and not spent. */
  get released(): number {
    this.#catchUp()
    return this.#released
  }

  get period(): string {
    this.#catchUp()
    return this.#periods.current.name
  }

  get resetAtMs(): number {
    this.#catchUp()
    return this.#periods.current.endsAtMs
  }

  callsOf(client: string): number {
    this.#catchUp()
    return this.#clients.of(client)
  }

  waitMs({ hasStale, rationed, client }: QuotaRequest, ahead = 0): number {
    const remaining = this.remaining - ahead
    const calls = client === null ? 0 : this.#clients.of(client.id)
    if (remaining < 1 || (client !== null && calls >= client.limit)) return this.#periods.leftMs
    if (!rationed || catchesUp(client?.part, calls, this.#spent)) return 0
    const needed = Math.min(remaining, 1 + (hasStale ? remaining * RESERVED_SHARE : 0))
    const released = this.#released - ahead
    if (released >= needed) return 0
    return Math.max(1, Math.ceil(((needed - released) / (remaining - released)) * this.#periods.leftMs))
  }

  acquire(hasStale: boolean, rationed: boolean, client: QuotaClient | null = null): number {
    const waitMs = this.waitMs({ hasStale, rationed, client })
    if (waitMs > 0) return waitMs
    this.#spent++
    this.#released = Math.max(0, this.#released - 1)
    if (client !== null) this.#clients.add(client.id, 1)
    return 0
  }

  refund(period: string, client: string | null = null): void {
    this.#catchUp()
    if (!this.#periods.includes(period)) return // that period is over
    this.#spent--
    this.#released++
    this.#carried = Math.max(0, this.#carried - 1) // it may be one that was taken over
    this.#dropped.calls = Math.max(0, this.#dropped.calls - 1)
    if (client !== null) this.#clients.add(client, -1)
  }

  /** Counts a call that another ledger was charged (1) or refunded (-1); false for a refund of a call before the period. */
  count(calls: 1 | -1): boolean {
    this.#catchUp()
    if (calls < 0 && (this.#spent === 0 || this.#clock.now() - this.#namedAt < MAX_CALL_MS)) return false
    this.#spent += calls
    this.#released = Math.max(0, Math.min(this.#released - calls, this.#left))
    return true
  }

  /** Another limit keeps what was spent; what a raise adds is released as at a start. */
  changeLimit(limit: number): void {
    this.#catchUp()
    const added = Math.floor(limit * this.#share) - Math.floor(this.#limit * this.#share)
    this.#limit = limit
    this.#ownLimit += added
    if (added > 0) this.#released += initiallyReleased(added)
    this.#released = Math.min(this.#released, this.#left)
  }

  /** Takes over the usage of all replicas; from now on this replica may spend its share of what is left, or less. */
  sync({ period, spent, released, nowMs }: QuotaUsage, maxShare = 1): void {
    const share = Math.min(this.#share, maxShare)
    if (period.name !== this.#periods.current.name) this.#clients.clear()
    this.#periods.follow(period, nowMs)
    this.#releasedAt = this.#clock.now()
    this.#spent = spent
    this.#carried = 0
    this.#dropped = { calls: 0, name: '' }
    this.#ownLimit = spent + Math.max(0, Math.floor((this.#limit - spent) * share))
    this.#released = released * share
  }

  /** Takes over how many calls a client has started on all replicas. */
  syncClient(client: string, calls: number): void {
    this.#clients.set(client, calls)
  }

  /** Begins a new period if there is one, and releases the calls of the time since the last time. */
  #catchUp(): void {
    const before = this.#periods.current
    const change = this.#periods.update()
    const now = this.#clock.now()
    if (change === 'began') {
      this.#previous = { name: before.name, spent: this.#spent }
      this.#begin()
    } else if (change === 'renamed') this.#rename(before)
    else {
      if (this.#dropped.calls > 0 && now - this.#namedAt >= JUMP_LASTS_MS) this.#drop()
      const elapsedMs = now - this.#releasedAt
      const unreleased = Math.max(0, this.#left - this.#released)
      this.#released += (unreleased * elapsedMs) / (elapsedMs + this.#periods.leftMs)
    }
    this.#releasedAt = now
  }

  #begin(): void {
    this.#spent = 0
    this.#carried = 0
    this.#dropped = { calls: 0, name: '' }
    this.#namedAt = this.#clock.now()
    this.#ownLimit = Math.floor(this.#limit * this.#share)
    this.#released = initiallyReleased(this.#ownLimit)
    this.#clients.clear()
  }

  #rename(from: QuotaPeriod): void {
    const now = this.#clock.now()
    const { name, endsAtMs } = this.#periods.current
    if (name === this.#previous.name) this.#spent += this.#previous.spent
    this.#previous = { name: '', spent: 0 }
    const isOld = endsAtMs > from.endsAtMs && now - this.#namedAt > MAX_CARRIED_MS
    this.#dropped = { calls: isOld ? this.#carried : 0, name: from.name }
    this.#carried = this.#spent
    this.#namedAt = now
    this.#released = Math.min(this.#released, this.#left)
  }

  /** Without this, a machine that sleeps through every midnight would never get a new period. */
  #drop(): void {
    const { name, calls } = this.#dropped
    this.#previous = { name, spent: calls }
    this.#spent -= calls
    this.#carried -= calls
    this.#dropped = { calls: 0, name: '' }
  }

  get #left(): number {
    return Math.max(0, this.#ownLimit - this.#spent)
  }
}
