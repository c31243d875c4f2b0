import { catchesUp, MAX_COUNTED_CLIENTS } from '../upstream/state/client-calls.ts'
import { periodAt } from '../upstream/state/quota-period.ts'
import type { QuotaReply, QuotaUpdate } from '../upstream/state/quota-store.ts'
import type { Databases } from './databases.ts'
import type { Context } from './operation.ts'
import { listProcess, processCount } from './process-list.ts'
import type { Account, AccountContext } from './quota-account.ts'
import {
  acquire,
  aloneOf,
  beginAccount,
  followPeriod,
  parseAccount,
  reconcile,
  release,
  spentOf,
} from './quota-account.ts'

const OTHERS = 'others'

/** The rules of LocalQuota and of evproxyQuotaUpdate: the contract tests run on all. Writes only what changes. */
export function applyQuota(context: Context, update: QuotaUpdate, replica: string): QuotaReply {
  const isListed = listProcess(context, replica)
  const usage = isListed ? readQuota(context, update, replica) : undefined
  return { ...(usage ?? updateQuota(context, update, replica)), processes: processCount(context) }
}

/** The usage without a change; undefined if there is none yet, or this process has to report something. */
function readQuota(context: Context, update: QuotaUpdate, replica: string): QuotaReply | undefined {
  const { change, lastSeen, unreported } = update
  const account = parseAccount(context.db.records.get(keyOf(update)))
  if (change.kind !== 'none' || account === null) return undefined
  const accountContext = contextOf(context, update, replica)
  if (accountContext.period.name !== account.period) return undefined
  if (lastSeen !== null && lastSeen.account !== account.id && lastSeen.period === account.period)
    return undefined
  if (unreported.calls !== (aloneOf(account, replica) ?? 0)) return undefined
  release(account, accountContext)
  return replyOf(account, accountContext, { waitMs: 0, holdMs: 0, clientCalls: null })
}

function updateQuota(context: Context, update: QuotaUpdate, replica: string): QuotaReply {
  const { db } = context
  const { change } = update
  const accountContext = contextOf(context, update, replica)
  const stored = parseAccount(db.records.get(keyOf(update))) ?? beginAccount(accountContext)
  const account = followPeriod(stored, accountContext)
  if (account.id !== stored.id) db.clients.clearSync()
  reconcile(account, update, replica)
  release(account, accountContext)
  const client = clientOf(db, change)
  const calls = client === null ? 0 : (db.clients.get(client) ?? 0)
  let counted = 0
  let waits = { waitMs: 0, holdMs: 0 }
  if (change.kind === 'refund' && change.period === account.period) {
    account.refunded++
    account.released++
    counted = calls > 0 ? -1 : 0
  } else if (change.kind === 'acquire') {
    const isOverShare = change.client !== null && calls >= change.client.limit
    const isFree = catchesUp(change.client?.part, calls, spentOf(account))
    waits = acquire(account, accountContext, isFree ? null : change.leave, isOverShare)
    counted = waits.waitMs === 0 ? 1 : 0
  }
  if (client !== null && counted !== 0) db.clients.putSync(client, calls + counted)
  db.records.putSync(keyOf(update), account)
  return replyOf(account, accountContext, { ...waits, clientCalls: client === null ? null : calls + counted })
}

function contextOf({ now }: Context, { limit, per }: QuotaUpdate, replica: string): AccountContext {
  return { now, limit, replica, period: periodAt(now, per) }
}

function keyOf({ per }: QuotaUpdate): string {
  return `quota:${per}`
}

/** The client under which the change is counted; null without one. */
function clientOf(db: Databases, change: QuotaUpdate['change']): string | null {
  const client = change.kind === 'none' ? null : change.kind === 'acquire' ? change.client?.id : change.client
  if (client === null || client === undefined) return null
  const isFull = () =>
    Number((db.clients.getStats() as { entryCount?: number }).entryCount) >= MAX_COUNTED_CLIENTS
  return db.clients.get(client) === undefined && isFull() ? OTHERS : client
}

type Waits = Pick<QuotaReply, 'waitMs' | 'holdMs' | 'clientCalls'>

function replyOf(account: Account, { now, period }: AccountContext, waits: Waits): QuotaReply {
  const { id, charged, released } = account
  return { ...waits, account: id, charged, released, spent: spentOf(account), period, nowMs: now }
}
