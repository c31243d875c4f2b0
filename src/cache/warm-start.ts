import type { PowerFilter } from '../availability/filter.ts'
import type { Clock } from '../lib/clock.ts'
import { pause } from '../lib/clock.ts'
import type { CacheEntry, EntryStore } from './entry-store.ts'
import { floorMs } from './entry-store.ts'
import { entryOf } from './shared-entry.ts'
import type { AnswerArchive, UsedAnswer } from './shared-store.ts'

export interface WarmStartDeps {
  readonly archive: AnswerArchive
  readonly store: EntryStore
  readonly clock: Clock
  readonly maxEntries: number
  readonly maxBytes: number
  readonly powerFilter: PowerFilter
}

/** Answers are read in portions, with a pause after each, so that requests wait for none of them for long. */
const READ_AT_ONCE = 50
const PAUSE_MS = 5
/** Memory that an answer takes besides its text, at most. */
const ENTRY_BYTES = 400

/**
 * Fills the memory with the answers of earlier processes, the least recently used first, so that the most recently
 * used are evicted last. While it does so, a miss finds its answer in the store.
 */
export class WarmStart {
  readonly #deps: WarmStartDeps
  #isStopped = false

  constructor(deps: WarmStartDeps) {
    this.#deps = deps
  }

  /** Never rejects. */
  async run(): Promise<void> {
    const stations = await this.#choose()
    while (stations.length > 0 && !this.#isStopped) {
      const portion = stations.splice(-READ_AT_ONCE).toReversed()
      const usedAt = new Map(portion.map(({ id, usedAtMs }) => [id, usedAtMs]))
      const answers = await this.#deps.archive.read([...usedAt.keys()])
      for (const [id, answer] of answers) {
        const entry = entryOf(id, answer, this.#deps.clock.now(), this.#deps.powerFilter)
        if (entry !== null) this.#restore(entry, usedAt.get(id) ?? 0)
      }
      await pause(this.#deps.clock, PAUSE_MS)
    }
  }

  stop(): void {
    this.#isStopped = true
  }

  /** The most recently used stations that fit into memory. */
  async #choose(): Promise<UsedAnswer[]> {
    const { archive, maxEntries, maxBytes } = this.#deps
    const chosen: UsedAnswer[] = []
    let bytes = 0
    for await (const portion of archive.recent()) {
      for (const station of portion) {
        bytes += station.bytes + ENTRY_BYTES
        if (chosen.length >= maxEntries || bytes > maxBytes || this.#isStopped) return chosen
        chosen.push(station)
      }
    }
    return chosen
  }

  #restore(entry: CacheEntry, usedAtMs: number): void {
    const { store, clock } = this.#deps
    if (store.peek(entry.answer.id) !== null) return
    const sinceMs = Math.max(0, clock.wall() - usedAtMs)
    store.put({ ...entry, lastUsedAt: floorMs(clock.now() - sinceMs) })
  }
}
