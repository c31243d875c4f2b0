import { countsDiffer } from '../availability/differs.ts'
import type { CacheResult } from '../events.ts'
import type { CacheEntry, StationState } from './entry-store.ts'

/** A TTL for each station with connectors, under a quota. */
export interface StationPacing {
  /** The age in ms at which the station's answer expires, before jitter. */
  ttlMs(state: StationState): number
  /** A request was served from the cache at this age. */
  served(state: StationState, ageMs: number): void
  /** A request waited for the call whose answer this is. */
  waited(state: StationState): void
  /** The state of a station's first answer. */
  first(): StationState
  /** The state after an answer that replaces an older one. */
  after(state: StationState, replacement: { readonly differs: boolean; readonly gapMs: number }): StationState
}

/** Under a quota a stale answer is served at once only after this many requests: at most one in eleven is stale. */
export const MIN_SERVED_FOR_STALE = 10

/** `loaded` with the state of its station; `present` is the entry that it replaces. */
export function withState(
  loaded: CacheEntry,
  present: CacheEntry | null,
  pacing: StationPacing | null,
): CacheEntry {
  if (pacing === null || loaded.answer.isEmpty || loaded.doubt !== null) return loaded
  if (present === null || present.answer.isEmpty) return { ...loaded, ...pacing.first() }
  if (present.startedAt > loaded.startedAt) return loaded // a late answer: it replaces none
  const isSameText = present.answer === loaded.answer
  const differs = !isSameText && countsDiffer(present.answer.availability, loaded.answer.availability)
  return { ...loaded, ...pacing.after(present, { differs, gapMs: loaded.receivedAt - present.receivedAt }) }
}

/** Adds a lookup that was answered with this entry to the state of its station. */
export function recordLookup(
  pacing: StationPacing,
  result: Exclude<CacheResult, 'error'>,
  entry: CacheEntry,
  ageMs: number,
): void {
  if (entry.answer.isEmpty) return
  if (result === 'miss' || result === 'coalesced') pacing.waited(entry)
  else pacing.served(entry, ageMs)
}
