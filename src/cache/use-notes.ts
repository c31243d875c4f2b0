import type { Clock } from '../lib/clock.ts'
import type { EntryStore } from './entry-store.ts'
import { floorMs } from './entry-store.ts'
import { knownState } from './pacing-port.ts'
import type { SharedAnswerStore, StationUse } from './shared-store.ts'

export interface UseNotesDeps {
  readonly shared: Pick<SharedAnswerStore, 'noteUses'>
  readonly entries: Pick<EntryStore, 'recent'>
  readonly clock: Pick<Clock, 'now' | 'after'>
}

/** How often uses are noted, and of how many stations at a time. */
const NOTE_EVERY_MS = 30_000
const NOTE_AT_ONCE = 5_000

/** Notes in the shared store which stations are used, and how much: a hit does not. */
export class UseNotes {
  readonly #deps: UseNotesDeps
  #notedAt: number
  #cancelTimer: () => void = () => {}

  constructor(deps: UseNotesDeps) {
    this.#deps = deps
    this.#notedAt = deps.clock.now()
  }

  start(): void {
    this.#cancelTimer = this.#deps.clock.after(NOTE_EVERY_MS, () => {
      void this.#note()
      this.start()
    })
  }

  /** Notes the uses since the last time. */
  async stop(): Promise<void> {
    this.#cancelTimer()
    await this.#note()
  }

  async #note(): Promise<void> {
    const { shared, entries, clock } = this.#deps
    const since = floorMs(this.#notedAt)
    this.#notedAt = clock.now()
    const uses: StationUse[] = []
    for (const entry of entries.recent()) {
      if (entry.lastUsedAt < since || uses.length >= NOTE_AT_ONCE) break
      uses.push({ id: entry.answer.id, version: entry.version, station: knownState(entry) })
    }
    if (uses.length > 0) await shared.noteUses?.(uses.toReversed())
  }
}
