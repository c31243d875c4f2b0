import type { MadeCalls, UnreportedCalls } from './own-calls.ts'
import type { QuotaClient } from './client-calls.ts'
import type { QuotaLimit } from './quota-ledger.ts'
import type { QuotaUsage } from './quota-period.ts'

/**
 * A change of the usage that all replicas share, and what the store needs to know of the replica that makes it. The
 * period is that of the store's clock alone.
 */
export interface QuotaUpdate {
  readonly per: QuotaLimit['per']
  readonly limit: number
  readonly change:
    | { readonly kind: 'none' }
    /** `leave` is the share of the remaining calls that this call leaves to others; null if calls are not rationed. */
    | { readonly kind: 'acquire'; readonly leave: number | null; readonly client: QuotaClient | null }
    /** Changes nothing if `period` is not the name of the current one. */
    | { readonly kind: 'refund'; readonly period: string; readonly client: string | null }
  /**
   * The usage that this replica last saw; null before the first. If it is of the current period but of another account,
   * the store has lost an account: the present one continues from the highest `spent` that any replica saw. If it is of
   * the same account and `charged` is higher, the store has lost a part.
   */
  readonly lastSeen: {
    readonly account: string
    readonly period: string
    readonly charged: number
    readonly spent: number
  } | null
  readonly unreported: UnreportedCalls
  readonly made: MadeCalls
}

export interface QuotaReply extends QuotaUsage {
  /** Identifies the account: a store that has lost it begins another one. */
  readonly account: string
  /** Calls charged in this account, whether refunded or not: never falls. */
  readonly charged: number
  /** 0 unless a call could not be acquired. */
  readonly waitMs: number
  /**
   * More than 0 if the call could not be acquired because the account was lost and replicas that saw more may not have
   * reported it yet: the time in ms until they have.
   */
  readonly holdMs: number
  /** Calls of the period that the client of the change has started; null without a client. */
  readonly clientCalls: number | null
  /** Processes that count in the store at present. Absent: the store does not know. */
  readonly processes?: number
}

/** The usage that all replicas share. Nothing here rejects, and nothing takes long. */
export interface QuotaStore {
  readonly isUp: boolean
  /** Null while the store cannot be reached. */
  apply(update: QuotaUpdate): Promise<QuotaReply | null>
}
