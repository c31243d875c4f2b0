import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { LoadOptions, Source } from '../source.ts'
import { Answer } from './answer.ts'
import { changeFrom, compareWith } from './change.ts'
import type { CacheEntry, EntryStore } from './entry-store.ts'
import { floorMs } from './entry-store.ts'
import { ttlFactor } from './freshness.ts'
import type { NegativeCache } from './negative-cache.ts'

export interface EntryKeeperDeps {
  readonly store: EntryStore
  readonly negative: Pick<NegativeCache, 'hasNegative'>
  /** False with a TTL of 0. */
  readonly isStoring: boolean
  readonly clock: Pick<Clock, 'now' | 'wall'>
  readonly observer: Pick<Observer, 'answerStored'>
  readonly load: Source
  /** From 0 up to, not including, 1. */
  readonly random: () => number
}

/** Loads entries from upstream, compares them with the present ones and stores them: the only way into the store. */
export class EntryKeeper {
  readonly #deps: EntryKeeperDeps

  constructor(deps: EntryKeeperDeps) {
    this.#deps = deps
  }

  /** A call, as an entry that is not stored yet. */
  async load(id: string, options: LoadOptions, version: string): Promise<CacheEntry> {
    const { load, clock, random } = this.#deps
    const startedAt = floorMs(clock.now())
    const answer = new Answer(await load(id, options))
    const receivedAt = floorMs(clock.now())
    const jitter = ttlFactor(random())
    const moments = { receivedAt, startedAt, lastUsedAt: receivedAt }
    return this.compared({ answer, ...moments, jitter, version, fromPeer: false, changedAt: 0 })
  }

  /** The entry after a comparison with the present one of its station. */
  compared(loaded: CacheEntry): CacheEntry {
    const { store, clock } = this.#deps
    const receivedWallMs = clock.wall() - clock.now() + loaded.receivedAt
    return compareWith(store.peek(loaded.answer.id), loaded, receivedWallMs)
  }

  /** Stores an entry. One of this replica's calls has been compared before it was published. */
  keep(loaded: CacheEntry): CacheEntry {
    const { store, negative, isStoring, observer } = this.#deps
    const { receivedAt, fromPeer, answer } = loaded
    const present = store.peek(answer.id)
    const entry = fromPeer ? this.compared(loaded) : loaded
    // A negative entry in force is from a later call: this call outlived its deadline.
    if (!isStoring || negative.hasNegative(answer.id) || !store.put(entry)) return entry
    const sinceMs = present === null ? 0 : Math.max(0, receivedAt - present.receivedAt)
    observer.answerStored({ id: answer.id, change: changeFrom(present, entry), fromPeer, sinceMs })
    return entry
  }
}
