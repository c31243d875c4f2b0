import type { Context } from './operation.ts'
import { MAX_AHEAD_MS } from './operation.ts'
import { drop, dropAll } from './use-order.ts'

/** No call takes longer, so that an older mark has no effect. */
const MARK_MS = 600_000
const PURGED_ALL = 'purgedAll'

/** Drops a station's answer and lease, and marks when, so that no call that began before publishes its answer. */
export function purge({ db, now }: Context, id: string): void {
  drop(db, id)
  db.leases.removeSync(id)
  db.purged.putSync(id, now)
}

/** Like `purge`, for all stations. */
export function purgeAll({ db, now }: Context): void {
  dropAll(db)
  db.leases.clearSync()
  db.records.putSync(PURGED_ALL, now)
}

/** Whether the station was purged after a call that began then. */
export function isPurgedSince({ db, now }: Context, id: string, startedAt: number): boolean {
  return [db.purged.get(id), db.records.get(PURGED_ALL)].some(
    (at) => typeof at === 'number' && startedAt <= at && at <= now + MAX_AHEAD_MS,
  )
}

/** Removes marks without an effect among the first `limit`. */
export function sweepPurged({ db, now }: Context, limit: number): void {
  for (const { key, value } of Array.from(db.purged.getRange({ limit }))) {
    if (value < now - MARK_MS || value > now + MAX_AHEAD_MS) db.purged.removeSync(key)
  }
}
