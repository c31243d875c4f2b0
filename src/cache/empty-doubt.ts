import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { CacheEntry } from './entry-store.ts'
import { floorMs } from './entry-store.ts'
import type { Freshness } from './freshness.ts'

/**
 * The empty answer in a row that replaces a full one. Upstream was recorded alternating between a full and an empty
 * answer for the same station, call by call, for hours.
 */
export const EMPTIES_TO_BELIEVE = 3

export interface EmptyDoubtDeps {
  readonly freshness: Pick<Freshness, 'mayReplaceEmpty'>
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<Observer, 'emptyDoubted'>
  /** How long after an empty answer the station is asked again, in ms. */
  readonly askAgainMs: () => number
}

/** Decides whether an empty answer replaces a full one. */
export class EmptyDoubt {
  readonly #deps: EmptyDoubtDeps

  constructor(deps: EmptyDoubtDeps) {
    this.#deps = deps
  }

  /** Whether the entry is served in place of an empty answer, without a call. */
  isInForce(entry: CacheEntry): boolean {
    const { freshness, clock, askAgainMs } = this.#deps
    if (entry.doubt === null || !freshness.mayReplaceEmpty(entry)) return false
    return clock.now() - entry.doubt.at < askAgainMs() * entry.jitter
  }

  /**
   * The entry to store: `loaded`, or if that is a doubtful empty one, the present full one with the doubt. It takes the
   * start and the version of the call, so that replicas take it for newer than the same answer without the doubt.
   */
  apply(loaded: CacheEntry, present: CacheEntry | null): CacheEntry {
    if (!loaded.answer.isEmpty || present === null || present.answer.isEmpty) return loaded
    const isLate = loaded.startedAt < present.startedAt
    const isBelievedByPeer = loaded.fromPeer && emptiesIn(loaded.version) >= EMPTIES_TO_BELIEVE
    if (isLate || isBelievedByPeer || !this.#deps.freshness.mayReplaceEmpty(present)) return loaded
    const empties = (present.doubt?.empties ?? 0) + 1
    const { startedAt, fromPeer } = loaded
    const version = fromPeer ? loaded.version : versionOf(loaded.version, empties)
    if (empties >= EMPTIES_TO_BELIEVE) return { ...loaded, version }
    this.#deps.observer.emptyDoubted()
    const doubt = { empties, at: floorMs(this.#deps.clock.now()) }
    return { ...present, startedAt, version, fromPeer, doubt }
  }
}

/**
 * A doubtful entry on the answer that is present now: a call past its deadline may have stored another one since it was
 * judged. With a version it has been published, and stays as it is.
 */
export function doubtPresent(entry: CacheEntry, present: CacheEntry | null): CacheEntry {
  if (entry.doubt === null || entry.version !== '' || present === null || present.answer.isEmpty) return entry
  const { startedAt, version, fromPeer, doubt } = entry
  return { ...present, startedAt, version, fromPeer, doubt }
}

/** A version after an empty answer: a token, `~` and how many there were in a row. Tokens contain no `~`. */
const COUNTED = /~([1-9])$/

/** Empty for an empty token: without a shared cache there are no versions. */
function versionOf(token: string, empties: number): string {
  return token === '' ? '' : `${token}~${empties}`
}

/** The number of empty answers in a row that a version counts. */
export function emptiesIn(version: string): number {
  return Number(COUNTED.exec(version)?.[1] ?? 0)
}
