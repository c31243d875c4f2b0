import { announce } from './announcement-operations.ts'
import type { Context } from './operation.ts'
import { MAX_AHEAD_MS } from './operation.ts'
import { drop, dropAll } from './use-order.ts'

/** No call takes longer, so that an older mark has no effect. */
const MARK_MS = 600_000
const PURGED_ALL = 'purgedAll'

/**
 * Drops a station's answer and lease, and leaves a mark, so that no call that began before publishes its answer. True: done.
 */
export function purge(context: Context, id: string, by: string): true {
  const { db, now } = context
  drop(db, id)
  db.leases.removeSync(id)
  db.purged.putSync(id, now)
  announce(context, { purged: id, by })
  return true
}

/** Like `purge`, for all stations. */
export function purgeAll(context: Context, by: string): true {
  const { db, now } = context
  dropAll(db)
  db.leases.clearSync()
  db.records.putSync(PURGED_ALL, now)
  announce(context, { purged: null, by })
  return true
}

/** Whether the station was purged in the last ten minutes: only a call with the lease publishes its answer then. */
export function isPurged({ db, now }: Context, id: string): boolean {
  return isInForce(db.purged.get(id), now) || isInForce(db.records.get(PURGED_ALL), now)
}

/** Removes marks without an effect among the first `limit`. */
export function sweepPurged({ db, now }: Context, limit: number): void {
  for (const { key, value } of Array.from(db.purged.getRange({ limit }))) {
    if (!isInForce(value, now)) db.purged.removeSync(key)
  }
}

function isInForce(at: unknown, now: number): boolean {
  return typeof at === 'number' && at > now - MARK_MS && at <= now + MAX_AHEAD_MS
}
