import type { Context } from './operation.ts'

/** Which processes use this store: when each was there last, in ms since the epoch. */
type ProcessList = Readonly<Record<string, number>>

const KEY = 'processes'
const LIST_EVERY_MS = 4_000
const GONE_AFTER_MS = 10_000

/** Lists the process again if it is time to; false if it did. */
export function listProcess({ db, now }: Context, id: string): boolean {
  const present = presentProcesses({ db, now })
  if (now - (present[id] ?? 0) < LIST_EVERY_MS) return true
  db.records.putSync(KEY, { ...present, [id]: now })
  return false
}

export function processCount(context: Pick<Context, 'db' | 'now'>): number {
  return Math.max(1, Object.keys(presentProcesses(context)).length)
}

function presentProcesses({ db, now }: Pick<Context, 'db' | 'now'>): ProcessList {
  const list = Object.entries((db.records.get(KEY) as ProcessList | undefined) ?? {})
  return Object.fromEntries(list.filter(([, at]) => at <= now && now - at < GONE_AFTER_MS))
}
