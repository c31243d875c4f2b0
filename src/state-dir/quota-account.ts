import type { QuotaPeriod } from '../upstream/state/quota-period.ts'
import { initiallyReleased } from '../upstream/state/quota-period.ts'
import type { QuotaUpdate } from '../upstream/state/quota-store.ts'
import { RECOVERY_MS } from '../upstream/state/shared-quota.ts'

/** The usage of the current period; times in ms since the epoch. */
export interface Account {
  id: string
  /** Name of the period. Names sort by time. */
  period: string
  /** When the account began. */
  since: number
  /** No call before this. */
  hold: number
  charged: number
  refunded: number
  /** What the account continued from. */
  base: number
  released: number
  /** Calls are released up to this time. */
  at: number
  /** The highest limit so far. */
  limit: number
  previous: string
  previousSpent: number
  /**
   * Periods from which the clock went back, by name: the calls of this account that are not calls of theirs. Absent in
   * accounts of older versions.
   */
  left?: Readonly<Record<string, number>>
  /** Unreported calls that are counted, by process. */
  alone: Record<string, number>
  /** The periods of these calls, by process; absent for the account's own. */
  aloneIn?: Readonly<Record<string, string>>
}

export interface AccountContext {
  readonly now: number
  readonly period: QuotaPeriod
  readonly limit: number
  /** Identifies the process. */
  readonly replica: string
}

/** An account of what was spent in `previous`. */
export function beginAccount(context: AccountContext, previous = '', previousSpent = 0): Account {
  const { now, period, limit, replica } = context
  return {
    id: `${replica}:${now}`,
    period: period.name,
    since: now,
    hold: 0,
    charged: 0,
    refunded: 0,
    base: 0,
    released: initiallyReleased(limit),
    at: now,
    limit,
    previous,
    previousSpent,
    alone: {},
  }
}

const NUMBERS = [
  'since',
  'hold',
  'charged',
  'refunded',
  'base',
  'released',
  'at',
  'limit',
  'previousSpent',
] as const

/** Null for a value that this service did not write. */
export function parseAccount(value: unknown): Account | null {
  if (typeof value !== 'object' || value === null) return null
  const account = value as Account
  const texts = [account.id, account.period, account.previous]
  const isValid =
    NUMBERS.every((name) => Number.isFinite(account[name]) && account[name] >= 0) &&
    texts.every((text) => typeof text === 'string') &&
    Object.values(account.left ?? {}).every(Number.isFinite) &&
    typeof account.alone === 'object' &&
    typeof (account.aloneIn ?? {}) === 'object'
  return isValid ? { ...account, alone: { ...account.alone } } : null
}

/** Periods from which the clock went back that are remembered. */
const MAX_LEFT = 10

export function spentOf({ charged, refunded }: Account): number {
  return charged - refunded
}

/**
 * Begins a new period, or gives the account the name of an earlier one: then the clock has gone back. Once the clock shows
 * again what it went back from, the count of that period goes on, with the calls of the time between.
 */
export function followPeriod(account: Account, context: AccountContext): Account {
  const { name } = context.period
  if (name === account.period) return account
  const others = account.left?.[name]
  if (others !== undefined) return returnTo(account, context, others)
  if (name > account.period) return beginAccount(context, account.period, spentOf(account))
  const { previous, previousSpent } = account
  const added = name === previous ? previousSpent : 0
  const isForgotten = previous !== '' && name !== previous
  const forgotten = isForgotten ? { [previous]: spentOf(account) - previousSpent } : {}
  const left = entriesOf({ ...account.left, ...forgotten, [account.period]: 0 }, added).slice(-MAX_LEFT)
  const renamed = { period: name, previous: '', previousSpent: 0, left: Object.fromEntries(left) }
  return { ...account, ...renamed, charged: account.charged + added, base: account.base + added }
}

/** @param others - calls of the account that are not calls of the period */
function returnTo(account: Account, { now, period }: AccountContext, others: number): Account {
  const left = entriesOf(account.left, -others).filter(([name]) => name !== period.name)
  return {
    ...account,
    period: period.name,
    at: now,
    charged: Math.max(account.refunded, account.charged - others),
    base: Math.max(0, account.base - others),
    previous: account.period,
    previousSpent: spentOf(account),
    left: Object.fromEntries(left),
  }
}

/** Each with so many calls more. */
function entriesOf(left: Account['left'], calls: number): [string, number][] {
  return Object.entries(left ?? {}).map(([name, others]) => [name, others + calls])
}

/** Adds what a process knows and the account does not. Changes the account. */
export function reconcile(account: Account, { lastSeen, unreported }: QuotaUpdate, replica: string): void {
  const isLost = lastSeen?.period === account.period && lastSeen.account !== account.id
  if (isLost) {
    account.hold = account.since + RECOVERY_MS
    const more = lastSeen.spent - account.base
    if (more > 0) {
      account.charged += more
      account.released = Math.max(0, account.released - more)
      account.base = lastSeen.spent
    }
  } else if (lastSeen?.period === account.period) {
    account.charged = Math.max(account.charged, lastSeen.charged)
  }
  const { calls, reported, period } = unreported
  if (period !== null && period !== account.period) return
  const counted = aloneOf(account, replica) ?? (isLost ? reported : 0)
  account.charged += Math.max(0, calls - counted)
  account.refunded += Math.max(0, counted - calls)
  account.released = Math.max(0, account.released - calls + counted)
  if (calls === 0 && counted === 0) return
  account.alone[replica] = calls
  account.aloneIn = { ...account.aloneIn, [replica]: account.period }
}

/** Unreported calls of the period that are counted for a process; undefined for none. */
export function aloneOf({ alone, aloneIn, period }: Account, replica: string): number | undefined {
  return (aloneIn?.[replica] ?? period) === period ? alone[replica] : undefined
}

/** Releases the calls of the time since the last time. Changes the account. */
export function release(account: Account, { limit, now, period }: AccountContext): void {
  if (limit > account.limit) {
    account.released += initiallyReleased(limit - account.limit)
    account.limit = limit
  }
  const left = Math.max(0, limit - spentOf(account))
  account.released = Math.min(account.released, left)
  if (account.at >= period.endsAtMs) account.at = now
  if (now <= account.at) return
  const unreleased = left - account.released
  account.released += (unreleased * (now - account.at)) / (period.endsAtMs - account.at)
  account.at = now
}

/** Spends a call if there is one. Changes the account. */
export function acquire(
  account: Account,
  { limit, now, period }: AccountContext,
  leave: number | null,
  isOverShare: boolean,
): { readonly waitMs: number; readonly holdMs: number } {
  const remaining = limit - spentOf(account)
  const leftMs = period.endsAtMs - now
  if (remaining < 1 || isOverShare) return { waitMs: leftMs, holdMs: 0 }
  const holdMs = account.hold - now
  // One that is longer began while the clock was ahead.
  if (holdMs > 0 && holdMs <= RECOVERY_MS) return { waitMs: holdMs, holdMs }
  const needed = leave === null ? 0 : Math.min(remaining, 1 + remaining * leave)
  if (account.released < needed) {
    const share = (needed - account.released) / (remaining - account.released)
    return { waitMs: Math.max(1, Math.ceil(share * leftMs)), holdMs: 0 }
  }
  account.charged++
  account.released = Math.max(0, account.released - 1)
  return { waitMs: 0, holdMs: 0 }
}
