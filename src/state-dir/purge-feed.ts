import type { Clock } from '../lib/clock.ts'
import type { Connection } from './connection.ts'
import type { PurgeMark, Purges } from './purge-operations.ts'

/** How often the store is asked for purges of other processes. */
const ASK_EVERY_MS = 500
/** A purge can be marked so long before its process commits it: the longest wait for the store's lock, and some more. */
const OVERLAP_MS = 5_000

/** Reports purges by other processes. */
export class PurgeFeed {
  readonly #connection: Pick<Connection, 'request'>
  readonly #clock: Pick<Clock, 'after' | 'wall'>
  /** The latest mark of each station that is known: of this process's own purges, and of those reported before. */
  readonly #known = new Map<string | null, number>()
  #count = -1
  #sinceMs: number
  #cancel: () => void = () => {}
  #isStopped = false

  constructor(connection: Pick<Connection, 'request'>, clock: Pick<Clock, 'after' | 'wall'>) {
    this.#connection = connection
    this.#clock = clock
    this.#sinceMs = clock.wall()
  }

  /** This process has purged a station, or all (null). `at` is the reply of the store. */
  noteOwn(id: string | null, at: unknown): void {
    if (typeof at === 'number') this.#known.set(id, at)
  }

  /** Calls the listener for each purge until it is stopped. */
  start(listener: (id: string | null) => void): void {
    if (this.#isStopped) return
    this.#cancel = this.#clock.after(ASK_EVERY_MS, () => {
      void this.#ask(listener).finally(() => this.start(listener))
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel()
  }

  async #ask(listener: (id: string | null) => void): Promise<void> {
    const recentMs = this.#clock.wall() - OVERLAP_MS
    const sinceMs = Math.min(this.#sinceMs, recentMs) // the clock may have gone back
    const purges = await this.#connection.request('purgesSince', [this.#count, sinceMs])
    if (purges === undefined || purges === null) return
    const { count, marks } = purges as Purges
    for (const mark of marks) if (this.#isNews(mark)) listener(mark[0])
    this.#count = count
    this.#sinceMs = recentMs
    for (const [id, at] of this.#known) if (at < this.#sinceMs) this.#known.delete(id)
  }

  #isNews([id, at]: PurgeMark): boolean {
    if (this.#known.get(id) === at) return false
    this.#known.set(id, at)
    return true
  }
}
