import type { PowerFilter } from '../availability/filter.ts'
import type { Clock } from '../lib/clock.ts'
import { pause } from '../lib/clock.ts'
import type { Turns } from '../lib/turns.ts'
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
  /** Shared with what else decodes long answers. */
  readonly turns?: Turns
  /** Purges so far. */
  readonly purges: () => number
}

/**
 * Answers are read in portions, with a pause after each, so that requests wait for none of them for long. A portion is at most
 * so many bytes, or a single answer.
 */
export const READ_AT_ONCE = 50
export const READ_BYTES_AT_ONCE = 524_288
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
      const portion = takePortion(stations)
      for (const [entry, usedAtMs] of await this.#read(portion)) this.#restore(entry, usedAtMs)
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

  /** The entries of these stations. What is purged before they are returned is not among them. */
  async #read(portion: readonly UsedAnswer[]): Promise<(readonly [entry: CacheEntry, usedAtMs: number])[]> {
    const { archive, clock, powerFilter, turns, purges } = this.#deps
    const usedAt = new Map(portion.map(({ id, usedAtMs }) => [id, usedAtMs]))
    for (;;) {
      const count = purges()
      const entries: (readonly [CacheEntry, number])[] = []
      for (const [id, answer] of await archive.read([...usedAt.keys()])) {
        const entry = await entryOf(id, answer, { now: clock.now(), powerFilter, turns })
        if (entry !== null) entries.push([entry, usedAt.get(id) ?? 0])
      }
      if (purges() === count) return entries
    }
  }

  #restore(entry: CacheEntry, usedAtMs: number): void {
    const { store, clock } = this.#deps
    if (store.peek(entry.answer.id) !== null) return
    const sinceMs = Math.max(0, clock.wall() - usedAtMs)
    store.put({ ...entry, lastUsedAt: floorMs(clock.now() - sinceMs) })
  }
}

/** Removes the last ones: the least recently used first. */
function takePortion(stations: UsedAnswer[]): UsedAnswer[] {
  const portion: UsedAnswer[] = []
  let bytes = 0
  for (let next = stations.at(-1); next !== undefined; next = stations.at(-1)) {
    bytes += next.bytes
    if (portion.length > 0 && (portion.length >= READ_AT_ONCE || bytes > READ_BYTES_AT_ONCE)) break
    portion.push(next)
    stations.pop()
  }
  return portion
}
