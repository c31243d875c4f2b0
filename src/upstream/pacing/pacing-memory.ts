import type { Clock } from '../../lib/clock.ts'
import type { LearnedPacing, PacingStore } from './learned-pacing.ts'
import { parseLearned } from './learned-pacing.ts'
import type { Price } from './price.ts'
import type { StationPacing } from './station-pacing.ts'

export interface PacingMemoryDeps {
  readonly store: Pick<PacingStore, 'load' | 'save'>
  readonly clock: Pick<Clock, 'after'>
}

/** What a process that ends without a warning forgets of pacing. */
const SAVE_EVERY_MS = 60_000

/** What pacing has learned: read from the store at the start, and written there from time to time. */
export class PacingMemory {
  readonly #pacing: Parts
  readonly #deps: PacingMemoryDeps
  #cancel: () => void = () => {}

  constructor(pacing: Parts, deps: PacingMemoryDeps) {
    this.#pacing = pacing
    this.#deps = deps
  }

  /** May be called again, when the store can be reached again: what could not be read is read then. */
  start(): void {
    void this.#read()
    this.#schedule()
  }

  /** Writes for the last time. */
  async stop(): Promise<void> {
    this.#cancel()
    await this.#save()
  }

  async #read(): Promise<void> {
    const learned = parseLearned(await this.#deps.store.load())
    if (learned !== null) restorePacing(this.#pacing, learned)
  }

  async #save(): Promise<void> {
    if (this.#pacing.price.isDemandKnown) await this.#deps.store.save(learnedOf(this.#pacing))
  }

  #schedule(): void {
    this.#cancel()
    this.#cancel = this.#deps.clock.after(SAVE_EVERY_MS, () => {
      void this.#save()
      this.#schedule()
    })
  }
}

interface Parts {
  readonly price: Price
  readonly stations: StationPacing | null
}

export function learnedOf({ price, stations }: Parts): LearnedPacing {
  return { price: price.learned(), changes: stations && stations.learned() }
}

/** Without effect once the demand was observed for long enough. */
export function restorePacing({ price, stations }: Parts, learned: LearnedPacing): void {
  if (price.isProjected) return
  price.restore(learned.price)
  if (learned.changes !== null) stations?.restore(learned.changes)
}
