import type { PowerFilter } from '../availability/filter.ts'
import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { LoadOptions, Source } from '../source.ts'
import { Answer } from './answer.ts'
import { changeFrom, compareWith } from './change.ts'
import type { EmptyDoubt } from './empty-doubt.ts'
import { doubtPresent } from './empty-doubt.ts'
import type { CacheEntry, EntryStore } from './entry-store.ts'
import { createEntry, floorMs } from './entry-store.ts'
import { ttlFactor } from './freshness.ts'
import type { NegativeCache } from './negative-cache.ts'
import type { StationPacing } from './pacing-port.ts'
import { withState } from './pacing-port.ts'

interface EntryKeeperOptions {
  /** Nothing is stored with 0. */
  readonly ttlMs: number
  readonly powerFilter?: PowerFilter
}

interface EntryKeeperDeps {
  readonly clock: Pick<Clock, 'now' | 'wall'>
  readonly observer: Pick<Observer, 'answerStored'>
  readonly load: Source
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  readonly pacing: StationPacing | null
}

interface EntryKeeperStores {
  readonly store: EntryStore
  readonly negative: Pick<NegativeCache, 'hasNegative'>
  readonly doubt: Pick<EmptyDoubt, 'apply'>
}

/** Loads entries from upstream, compares them with the present ones and stores them: the only way into the store. */
export class EntryKeeper {
  readonly #options: EntryKeeperOptions
  readonly #deps: EntryKeeperDeps
  readonly #stores: EntryKeeperStores

  constructor(options: EntryKeeperOptions, deps: EntryKeeperDeps, stores: EntryKeeperStores) {
    this.#options = options
    this.#deps = deps
    this.#stores = stores
  }

  /** A call, as an entry that is not stored yet. */
  async load(id: string, options: LoadOptions, version: string): Promise<CacheEntry> {
    const { load, clock, random } = this.#deps
    const startedAt = floorMs(clock.now())
    const answer = new Answer(await load(id, options), this.#options.powerFilter)
    const receivedAt = floorMs(clock.now())
    const moments = { receivedAt, startedAt, lastUsedAt: receivedAt, changedAt: 0 }
    const jitter = ttlFactor(random())
    return this.#judged(createEntry({ answer, ...moments, jitter, version, fromPeer: false, doubt: null }))
  }

  /** Stores an entry. One of this replica's calls has been judged before it was published. */
  keep(loaded: CacheEntry): CacheEntry {
    const { store, negative } = this.#stores
    const { observer } = this.#deps
    const { receivedAt, fromPeer, answer } = loaded
    const { id } = answer
    const present = store.peek(id)
    const entry = fromPeer ? this.#judged(loaded) : doubtPresent(loaded, present)
    // A negative entry in force is from a later call: this call outlived its deadline.
    if (this.#options.ttlMs === 0 || negative.hasNegative(id) || !store.put(entry)) return entry
    const sinceMs = present === null ? 0 : Math.max(0, receivedAt - present.receivedAt)
    observer.answerStored({ id, change: changeFrom(present, entry), fromPeer, sinceMs })
    return entry
  }

  /**
   * The entry after a comparison with the present one of its station: what changed, whether an empty one is doubted, and
   * what pacing knows.
   */
  #judged(loaded: CacheEntry): CacheEntry {
    const { clock, pacing } = this.#deps
    const { store, doubt } = this.#stores
    const present = store.peek(loaded.answer.id)
    const receivedWallMs = clock.wall() - clock.now() + loaded.receivedAt
    return withState(doubt.apply(compareWith(present, loaded, receivedWallMs), present), present, pacing)
  }
}
