import type { ServiceError } from '../errors.ts'
import type { CacheResult } from '../events.ts'
import type { Answer } from './answer.ts'
import type { CacheEntry } from './entry-store.ts'

/** How old an entry is. */
export interface EntryAge {
  /** Milliseconds since upstream answered. */
  readonly ageMs: number
  /** Milliseconds left of the TTL; negative for a stale answer. */
  readonly ttlMs: number
}

/** The answer that a lookup returned, and where it came from. */
export interface LookupResult extends EntryAge {
  readonly answer: Answer
  readonly result: Exclude<CacheResult, 'error'>
  /** There was an entry, but the lookup needed a call because it was too stale. */
  readonly wasExpired: boolean
  /** Whether the cache stores the answer. */
  readonly isStored: boolean
  /** When the station's answer was first seen to differ from the one before, in seconds since the epoch; 0 if never. */
  readonly changedAt: number
  /** The error that the stale answer replaces, else null. */
  readonly staleReason: ServiceError | null
  /** The stale answer is served in place of an empty one that is not confirmed yet. */
  readonly isEmptyUnconfirmed?: boolean
}

/** An entry, whatever its age. */
export interface PeekedEntry extends EntryAge, Pick<LookupResult, 'answer' | 'changedAt'> {
  /** Whether a lookup could return it without an answer of upstream. */
  readonly mayBeServed: boolean
}

/** What a lookup found out beside the entry; `age` if it is known already. */
export type FoundDetails = Partial<Pick<LookupResult, 'wasExpired' | 'staleReason'>> & {
  readonly age?: EntryAge
}

/** A fresh entry with its age. */
export interface FreshEntry {
  readonly entry: CacheEntry
  readonly age: EntryAge
}
