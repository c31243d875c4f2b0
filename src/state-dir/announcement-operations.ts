import type { Context } from './operation.ts'

/** What a process announces to the others: it has stored an answer, or purged a station, or all (null). */
export type Announcement =
  | { readonly stored: string; readonly version: string }
  | { readonly purged: string | null; readonly by: string }

/** Number of the next announcement. */
const NEXT = 'announced'
/** Announcements that are kept. A process that does not read for as many misses some. */
export const MAX_KEPT = 2_048

export interface Announcements {
  /** What to ask for the next time. */
  readonly next: number
  readonly announcements: readonly Announcement[]
  /** Some are not kept any more. */
  readonly isIncomplete: boolean
}

export function announce({ db }: Context, announcement: Announcement): void {
  const number = nextOf(db)
  db.records.putSync(`${NEXT}:${number % MAX_KEPT}`, [number, announcement])
  db.records.putSync(NEXT, number + 1)
}

/** The announcements from this number on; none for null, which asks for the number alone. */
export function announcedSince({ db }: Context, number: number | null): Announcements {
  const next = nextOf(db)
  const from = number === null ? next : number > next ? 0 : number // a number of another store file
  const announcements: Announcement[] = []
  const oldest = Math.max(from, next - MAX_KEPT)
  for (let i = oldest; i < next; i++) {
    const [stored, announcement] = (db.records.get(`${NEXT}:${i % MAX_KEPT}`) ?? []) as [
      number?,
      Announcement?,
    ]
    if (stored === i && announcement !== undefined) announcements.push(announcement)
  }
  return { next, announcements, isIncomplete: oldest > from }
}

function nextOf(db: Context['db']): number {
  const next = db.records.get(NEXT)
  return typeof next === 'number' ? next : 0
}
