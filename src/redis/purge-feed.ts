import { randomUUID } from 'node:crypto'
import type { Clock } from '../lib/clock.ts'
import type { Commands } from './commands.ts'
import { PURGED_CHANNEL, PURGES_KEY } from './keys.ts'
import { ANNOUNCE_PURGE, READ_PURGES } from './purge-script.ts'

/** A purge delays no client, and opens the circuit only if Redis does not respond at all. */
export const PURGE_TIMEOUT_MS = 1_000

const MICROSECONDS = 1_000

/** `time replica id`, or `time replica` for all stations. */
const MESSAGE = /^(\d{1,20}) (\S+)(?: ([^]+))?$/

/**
 * The purges that replicas announce to each other: as messages, and in a list for those that were not connected. Times
 * are of the server, in µs.
 */
export class PurgeFeed {
  readonly #commands: Pick<Commands, 'script' | 'subscribe' | 'onListening'>
  /** Names this replica in its messages, which reach it as well. */
  readonly #replica = randomUUID()
  readonly #clock: Pick<Clock, 'now'>
  readonly #createdAt: number
  /** The time of the last purge that this replica knows; null before it has asked. */
  #known: string | null = null
  /** Messages may have been missed. */
  #isBehind = true
  #listener: (id: string | null) => void = () => {}

  constructor(commands: Pick<Commands, 'script' | 'subscribe' | 'onListening'>, clock: Pick<Clock, 'now'>) {
    this.#commands = commands
    this.#clock = clock
    this.#createdAt = clock.now()
  }

  /** Announces the purge of a station, or of all (null). False if Redis could not be reached. */
  async announce(id: string | null): Promise<boolean> {
    const reply = await this.#commands.script(
      ANNOUNCE_PURGE,
      [PURGES_KEY],
      [this.#replica, id ?? ''],
      PURGE_TIMEOUT_MS,
    )
    return reply !== undefined
  }

  /** Calls the listener with each station that another replica purges; with null if that was all. */
  listen(listener: (id: string | null) => void): void {
    this.#listener = listener
    this.#commands.onListening((isListening) => {
      this.#isBehind = true
      if (isListening) void this.#catchUp()
    })
    this.#commands.subscribe(PURGED_CHANNEL, (message) => this.#receive(message))
  }

  #receive(message: string): void {
    const [, time, replica, id = null] = MESSAGE.exec(message) ?? []
    if (time === undefined) return
    if (!this.#isBehind) this.#known = time
    if (replica !== this.#replica) this.#listener(id)
  }

  /**
   * Reports the purges since the last one that is known, its own as well: then a copy is read from Redis again. At first
   * those since this replica began, which had no copies then.
   */
  async #catchUp(): Promise<void> {
    const known = this.#known
    const reply = await this.#commands.script(READ_PURGES, [PURGES_KEY], [known ?? '0'], PURGE_TIMEOUT_MS)
    if (!Array.isArray(reply)) return // tried again when Redis can be reached
    const [now, latest, isComplete, ...purges] = reply as [string, string, number, ...string[]]
    // Not later than the moment of its creation: the reply has taken a while.
    const createdAt = Number(now) - (this.#clock.now() - this.#createdAt) * MICROSECONDS
    const after = known === null ? createdAt : 0
    const ids = purges.filter((_, i) => i % 2 === 0 && Number(purges[i + 1]) > after)
    this.#known = latest
    this.#isBehind = false
    const isMissing = isComplete !== 1 && ids.length === purges.length / 2
    if (isMissing || ids.includes('')) this.#listener(null)
    else for (const id of ids) this.#listener(id)
  }
}
