import type { Clock } from '../lib/clock.ts'
import type { Connection } from './connection.ts'
import type { Announcements } from './published-operations.ts'

/** An answer of another process is known this long after it was stored, and the time of one read. */
const READ_EVERY_MS = 100

/** Follows the answers that the processes store: a file cannot notify, so it is read at intervals. */
export class PublishedFeed {
  readonly #connection: Pick<Connection, 'request'>
  readonly #clock: Pick<Clock, 'after'>
  readonly #listener: (id: string, version: string) => void
  /** Null before the first read. */
  #next: number | null = null
  #cancel: () => void = () => {}
  #isStopped = false

  constructor(
    connection: Pick<Connection, 'request'>,
    clock: Pick<Clock, 'after'>,
    listener: (id: string, version: string) => void,
  ) {
    this.#connection = connection
    this.#clock = clock
    this.#listener = listener
    void this.#read()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel()
  }

  async #read(): Promise<void> {
    const found = (await this.#connection.request('publishedSince', [this.#next])) as
      | Announcements
      | undefined
    if (this.#isStopped) return
    if (found !== undefined) {
      this.#next = found.next
      for (const [id, version] of found.answers) this.#listener(id, version)
    }
    this.#cancel = this.#clock.after(READ_EVERY_MS, () => void this.#read())
  }
}
