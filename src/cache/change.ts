import { isDeepStrictEqual } from 'node:util'
import type { AnswerChange } from '../events.ts'
import type { Answer } from './answer.ts'
import type { CacheEntry } from './entry-store.ts'

/**
 * The loaded entry, compared with the present one of its station. An answer that is equal as JSON, whatever its whitespace
 * and the order of members, keeps the present one's bytes, ETag and renderings; another one gets the time of the change.
 * @param wallMs the time of receipt, in ms since the epoch
 */
export function compareWith(present: CacheEntry | null, loaded: CacheEntry, wallMs: number): CacheEntry {
  if (present === null) return loaded
  if (isSame(present.answer, loaded.answer)) {
    const changedAt = Math.max(present.changedAt, loaded.changedAt)
    return { ...loaded, answer: present.answer, changedAt }
  }
  // A peer that knew the answer before this one has a later time than this replica.
  const isKnown = loaded.changedAt > present.changedAt
  return isKnown ? loaded : { ...loaded, changedAt: changeTime(present.changedAt, Math.floor(wallMs / 1000)) }
}

/**
 * The time of a change, in seconds since the epoch. It does not go back with the wall clock: a client sends the time of the
 * answer before as `If-Modified-Since`, and would get a 304.
 */
function changeTime(before: number, now: number): number {
  return now < before ? before + 1 : now
}

/** The change from the present entry to a compared one. */
export function changeFrom(present: CacheEntry | null, compared: CacheEntry): AnswerChange {
  if (present === null) return 'first'
  return present.answer === compared.answer ? 'same' : 'different'
}

function isSame(one: Answer, other: Answer): boolean {
  return one.json === other.json || isDeepStrictEqual(JSON.parse(one.json), JSON.parse(other.json))
}
