import { countsDiffer } from '../availability/differs.ts'
import type { CacheResult } from '../events.ts'
import type { CacheEntry, StationState } from './entry-store.ts'
import { createEntry, UNPACED } from './entry-store.ts'

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
  if (present === null || present.answer.isEmpty) {
    return loaded.fromPeer ? loaded : createEntry(loaded, pacing.first()) // a peer's answer brings what the peer knows
  }
  if (present.startedAt > loaded.startedAt) return loaded // a late answer: it replaces none
  const isSameText = present.answer === loaded.answer
  const differs = !isSameText && countsDiffer(present.answer.availability, loaded.answer.availability)
  const learned = pacing.after(present, { differs, gapMs: loaded.receivedAt - present.receivedAt })
  const isPeerAhead = loaded.fromPeer && loaded.watchedS > learned.watchedS
  return createEntry(loaded, isPeerAhead ? { ...loaded, served: 0, servedAgesS: 0 } : learned)
}

const STATE_NAMES = Object.keys(UNPACED) as readonly (keyof StationState)[]

/** What pacing knows of an entry's station; null if that is nothing. */
export function knownState(entry: StationState): StationState | null {
  if (STATE_NAMES.every((name) => entry[name] === UNPACED[name])) return null
  return Object.fromEntries(STATE_NAMES.map((name) => [name, entry[name]])) as unknown as StationState
}

/** The limits of what pacing can know, as bits of a small integer of V8. */
const MAX_STATE = 2 ** 30 - 1
const MIN_STATE: Partial<StationState> = { weight1024ths: 1 }

/** A state that was read from a shared store; that of an unknown station for one that cannot be. */
export function validState(state: StationState | undefined): StationState {
  if (state === undefined) return UNPACED
  const isValid = STATE_NAMES.every((name) => {
    const value: unknown = state[name]
    return Number.isInteger(value) && Number(value) >= (MIN_STATE[name] ?? 0) && Number(value) <= MAX_STATE
  })
  return isValid ? state : UNPACED
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
