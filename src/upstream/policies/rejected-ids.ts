import { LRUCache } from 'lru-cache'
import type { Clock } from '../../lib/clock.ts'
import { copyString } from '../../lib/copy-string.ts'

/** A client that tries again at once says nothing: an id counts as asked for again after this. */
const AGAIN_AFTER_MS = 60_000
const MAX_IDS = 10_000

/**
 * Unknown ids for which no call was made, the newest 10,000. Made-up ids are mostly asked for once; stations are asked
 * for again.
 */
export class RejectedIds {
  readonly #clock: Pick<Clock, 'now'>
  /** The time of the first rejection. */
  readonly #ids = new LRUCache<string, number>({ max: MAX_IDS })

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  isAskedAgain(id: string): boolean {
    const rejectedAt = this.#ids.get(id)
    return rejectedAt !== undefined && this.#clock.now() - rejectedAt >= AGAIN_AFTER_MS
  }

  add(id: string): void {
    if (!this.#ids.has(id)) this.#ids.set(copyString(id), this.#clock.now())
  }
}
