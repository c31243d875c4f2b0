import type { Context } from './operation.ts'

/** Number of the next announcement. */
const NEXT = 'published'
/** Announcements that are kept. A process that reads less often than that misses some, and has older answers for longer. */
const KEPT = 256

export interface Announcements {
  /** What to ask for the next time. */
  readonly next: number
  readonly answers: readonly (readonly [id: string, version: string])[]
}

/** Announces to the other processes that an answer was stored. */
export function announce({ db }: Context, id: string, version: string): void {
  const number = nextOf(db)
  db.records.putSync(`${NEXT}:${number % KEPT}`, [number, id, version])
  db.records.putSync(NEXT, number + 1)
}

/** The announcements from this number on; none for null, which asks for the number alone. */
export function publishedSince({ db }: Context, number: number | null): Announcements {
  const next = nextOf(db)
  const answers: [string, string][] = []
  for (let i = Math.max(number ?? next, next - KEPT); i < next; i++) {
    const [stored, id, version] = (db.records.get(`${NEXT}:${i % KEPT}`) ?? []) as [number?, string?, string?]
    if (stored === i && id !== undefined && version !== undefined) answers.push([id, version])
  }
  return { next, answers }
}

function nextOf(db: Context['db']): number {
  const next = db.records.get(NEXT)
  return typeof next === 'number' ? next : 0
}
