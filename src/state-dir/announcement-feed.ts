import { randomUUID } from 'node:crypto'
import type { Clock } from '../lib/clock.ts'
import type { Announcement, Announcements } from './announcement-operations.ts'
import type { Connection } from './connection.ts'

/** An announcement reaches the other processes after at most this and the time of a read. */
const READ_EVERY_MS = 250

export interface AnnouncementListeners {
  /** A process has stored an answer, this one included. */
  readonly stored: (id: string, version: string) => void
  /** Another process has purged a station, or all (null). */
  readonly purged: (id: string | null) => void
}

/**
 * Follows what the processes announce: a file cannot notify, so it is read at intervals. A process that has missed
 * announcements, such as one that was stopped, acts as if all stations were purged, because one may have been: the store
 * still has the answers that were not.
 */
export class AnnouncementFeed {
  /** Names this process in its announcements. */
  readonly name = randomUUID()
  readonly #connection: Pick<Connection, 'request'>
  readonly #clock: Pick<Clock, 'after'>
  #listeners: Partial<AnnouncementListeners> = {}
  /** Null before the first read. */
  #next: number | null = null
  #cancel: (() => void) | null = null
  #isStopped = false

  constructor(connection: Pick<Connection, 'request'>, clock: Pick<Clock, 'after'>) {
    this.#connection = connection
    this.#clock = clock
  }

  /** Adds a listener; the first begins the reading. */
  listen(listeners: Partial<AnnouncementListeners>): void {
    this.#listeners = { ...this.#listeners, ...listeners }
    if (this.#cancel !== null || this.#isStopped) return
    this.#cancel = () => {}
    void this.#read()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel?.()
  }

  async #read(): Promise<void> {
    const found = (await this.#connection.request('announcedSince', [this.#next])) as
      | Announcements
      | undefined
    if (this.#isStopped) return
    if (found !== undefined) this.#report(found)
    this.#cancel = this.#clock.after(READ_EVERY_MS, () => void this.#read())
  }

  #report({ next, announcements, isIncomplete }: Announcements): void {
    this.#next = next
    if (isIncomplete) this.#listeners.purged?.(null)
    for (const announcement of announcements) this.#reportOne(announcement)
  }

  #reportOne(announcement: Announcement): void {
    if ('stored' in announcement) this.#listeners.stored?.(announcement.stored, announcement.version)
    else if (announcement.by !== this.name) this.#listeners.purged?.(announcement.purged)
  }
}
