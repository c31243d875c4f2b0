import type { StationUse } from '../cache/shared-store.ts'
import { decodeRecord } from './answer-record.ts'
import type { Databases } from './databases.ts'
import type { Context } from './operation.ts'
import { noteStation } from './station-record.ts'

/** Of the bytes that the answers may take: pages of the file that are free or in transition take the rest. */
const ANSWERS_SHARE = 0.6
/** A use is noted at most so often per station. */
const NOTE_EVERY_MS = 300_000
const EVICT_AT_ONCE = 64

/** A station, when it was last used, and the bytes of its record. */
export type Used = readonly [id: string, at: number, bytes: number]

type OrderRange = Exclude<Parameters<Databases['order']['getRange']>[0], undefined>
type OrderEntry = ReturnType<Databases['order']['getRange']> extends Iterable<infer Entry> ? Entry : never

/** When a station was last used. A value that is damaged counts as absent: it cannot be in a key of `order`. */
function lastUse(db: Databases, id: string): number | undefined {
  const at = db.used.get(id)
  return Number.isSafeInteger(at) ? at : undefined
}

/** Whether this is a key of `order`: one that is damaged may be anything. */
function isIntact(key: unknown): key is [number, string] {
  return Array.isArray(key) && Number.isSafeInteger(key[0]) && typeof key[1] === 'string'
}

/** Entries of `order` in a range. It is built again if a damaged key cannot be decoded. */
function entriesOf(db: Databases, range: OrderRange): OrderEntry[] {
  try {
    return Array.from(db.order.getRange(range))
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    rebuild(db)
    return Array.from(db.order.getRange(range))
  }
}

function rebuild(db: Databases): void {
  db.order.clearSync()
  for (const id of Array.from(db.used.getKeys())) {
    const at = lastUse(db, id)
    if (at !== undefined) db.order.putSync([at, id], db.answers.get(id)?.length ?? 0)
  }
}

/** The keys of the least recently used stations. */
const oldestKeys = (db: Databases, limit: number) =>
  entriesOf(db, { limit })
    .map(({ key }) => key)
    .filter(isIntact)

/** Notes the use of a station. */
export function touch(db: Databases, id: string, at: number, bytes: number): void {
  const before = lastUse(db, id)
  if (before !== undefined) db.order.removeSync([before, id])
  db.used.putSync(id, at)
  db.order.putSync([at, id], bytes)
}

/** Removes the answer of a station. */
export function drop(db: Databases, id: string): void {
  const at = lastUse(db, id)
  if (at !== undefined) db.order.removeSync([at, id])
  db.used.removeSync(id)
  db.stations.removeSync(id)
  db.answers.removeSync(id)
}

/** Removes the answer of a station, and this key, which is another one if the last use that is stored is damaged. */
function dropAt(db: Databases, key: [number, string]): void {
  drop(db, key[1])
  db.order.removeSync(key)
}

export function dropAll(db: Databases): void {
  db.answers.clearSync()
  db.stations.clearSync()
  db.used.clearSync()
  db.order.clearSync()
}

/** Notes the use of stations at `now`, unless a recent use is noted already, and what pacing knows of them. */
export function noteUses({ db, now }: Context, uses: readonly StationUse[]): void {
  for (const { id, version, station } of uses) {
    const before = lastUse(db, id)
    if (before === undefined) continue
    if (station !== null) noteStation(db, id, { ...station, version })
    if (before > now || now - before >= NOTE_EVERY_MS) touch(db, id, now, db.order.get([before, id]) ?? 0)
  }
}

/** Removes the least recently used answers until all of them take no more than their share of the disk. */
export function evict({ db, answerBytes }: Context): void {
  while (answerDiskBytes(db) > answerBytes * ANSWERS_SHARE) {
    const oldest = oldestKeys(db, EVICT_AT_ONCE)
    if (oldest.length === 0) return
    for (const key of oldest) dropAt(db, key)
  }
}

/** Removes expired answers among the least recently used. */
export function sweepAnswers({ db, now }: Context, limit: number): void {
  for (const key of oldestKeys(db, limit)) {
    const value = db.answers.get(key[1])
    const record = value === undefined ? null : decodeRecord(value)
    if (record === null || record.until <= now) dropAt(db, key)
  }
}

/** Up to `limit` stations used before `before`, the most recently used first. */
export function recentlyUsed(
  { db }: Context,
  before: readonly [number, string] | null,
  limit: number,
): Used[] {
  const start = before === null ? {} : { start: [...before] as [number, string], exclusiveStart: true }
  return entriesOf(db, { ...start, reverse: true, limit }).flatMap(({ key, value }) =>
    isIntact(key) ? [[key[1], key[0], value ?? 0] as const] : [],
  )
}

function answerDiskBytes(db: Databases): number {
  return [db.answers, db.stations, db.used, db.order].reduce(
    (sum, database) => sum + databaseBytes(database.getStats()),
    0,
  )
}

function databaseBytes(stats: object): number {
  const pages = stats as Readonly<Record<string, number>>
  const { pageSize = 0, treeBranchPageCount = 0, treeLeafPageCount = 0, overflowPages = 0 } = pages
  return pageSize * (treeBranchPageCount + treeLeafPageCount + overflowPages)
}
