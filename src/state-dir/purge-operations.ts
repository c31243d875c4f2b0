import type { Context } from './operation.ts'
import { MAX_AHEAD_MS } from './operation.ts'
import { drop, dropAll } from './use-order.ts'

/** No call takes longer, so that an older mark has no effect. */
const MARK_MS = 600_000
const PURGED_ALL = 'purgedAll'
/** The record of how many purges there were: by it processes notice that there is another one. */
const PURGES = 'purges'

/** The mark of a purge: the station, or null for all, and when, in ms since the epoch. */
export type PurgeMark = readonly [id: string | null, at: number]

/** The purges since a moment. */
export interface Purges {
  /** How many there were by now; changes with each. */
  readonly count: number
  /** Of the same station only the latest. */
  readonly marks: readonly PurgeMark[]
}

/**
 * Drops a station's answer and lease, and leaves a mark, so that no call that began before publishes its answer.
 * @returns the time of the mark
 */
export function purge({ db, now }: Context, id: string): number {
  drop(db, id)
  db.leases.removeSync(id)
  db.purged.putSync(id, now)
  db.records.putSync(PURGES, purgeCount(db) + 1)
  return now
}

/** Like `purge`, for all stations. */
export function purgeAll({ db, now }: Context): number {
  dropAll(db)
  db.leases.clearSync()
  db.records.putSync(PURGED_ALL, now)
  db.records.putSync(PURGES, purgeCount(db) + 1)
  return now
}

/** The purges from `sinceMs` on if there are more than `known`; null if there are none. */
export function purgesSince({ db }: Context, known: number, sinceMs: number): Purges | null {
  const count = purgeCount(db)
  if (count === known) return null
  const all = db.records.get(PURGED_ALL)
  const marks: PurgeMark[] = typeof all === 'number' ? [[null, all]] : []
  for (const { key, value } of db.purged.getRange()) marks.push([key, value])
  return { count, marks: marks.filter(([, at]) => at >= sinceMs) }
}

function purgeCount(db: Context['db']): number {
  const count = db.records.get(PURGES)
  return typeof count === 'number' ? count : 0
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
