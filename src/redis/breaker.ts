import type { Clock } from '../lib/clock.ts'
import type { Observer } from '../events.ts'
import { describeRedisError, TIMED_OUT } from './errors.ts'

/** Longest time that anyone waits for a command. */
export const COMMAND_TIMEOUT_MS = 100
const SLICES = 4
/**
 * How long nothing is sent after a failure: the first time, doubling to the longest while probes fail, or commands soon
 * after one that succeeded.
 */
export const INITIAL_OPEN_MS = 1_000
export const MAX_OPEN_MS = 5_000

export interface RedisBreakerDeps {
  /** A harmless command that writes: a server that can only be read from is of no use. */
  readonly probe: () => Promise<unknown>
  /** Gives the connection up for a new one: the old one may lead nowhere. */
  readonly reconnect: () => void
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'sharedCacheChanged'>
}

/**
 * The one way to Redis. The first command that fails or takes too long closes it, and from then on commands are not
 * even tried: requests go on by themselves and lose no time. Only a probe goes out now and then, and the first that
 * succeeds opens it again.
 */
export class RedisBreaker {
  readonly #parts: RedisBreakerDeps
  /** Null until the first attempt has ended. */
  #up: boolean | null = null
  #restMs = INITIAL_OPEN_MS
  #probing: Promise<void> | null = null
  #closed = false
  #cancelRest: () => void = () => {}

  constructor(parts: RedisBreakerDeps) {
    this.#parts = parts
  }

  get isUp(): boolean {
    return this.#up === true
  }

  /** Whether the first attempt has ended, one way or the other. */
  get isSettled(): boolean {
    return this.#up !== null
  }

  /** The command's reply; undefined if it failed, or was not tried. Never rejects. */
  async run<T>(command: () => Promise<T>): Promise<T | undefined> {
    if (!this.isUp) return undefined
    try {
      return await this.#inTime(command())
    } catch (error) {
      this.reportFailure(error)
      return undefined
    }
  }

  /** Something is wrong: the gate closes, and rests before the next probe. */
  reportFailure(error: unknown): void {
    if (this.#up === false || this.#closed) return
    this.#become(false, describeRedisError(error))
    this.#rest()
  }

  /** There is reason to believe that Redis is back: sees to it at once. */
  async probe(): Promise<void> {
    if (this.isUp || this.#closed) return
    this.#probing ??= this.#probe()
    await this.#probing
    this.#probing = null
  }

  async #probe(): Promise<void> {
    this.#cancelRest()
    try {
      await this.#inTime(this.#parts.probe())
      this.#become(true, 'a command succeeded')
      this.#cancelRest = this.#parts.clock.after(MAX_OPEN_MS, () => {
        this.#restMs = INITIAL_OPEN_MS
      })
    } catch (error) {
      this.#become(false, describeRedisError(error))
      this.#rest()
      this.#parts.reconnect()
    }
  }

  /** For good. */
  close(): void {
    this.#closed = true
    this.#up = false
    this.#cancelRest()
  }

  #rest(): void {
    if (this.#closed) return
    this.#cancelRest()
    this.#cancelRest = this.#parts.clock.after(this.#restMs, () => void this.probe())
    this.#restMs = Math.min(this.#restMs * 2, MAX_OPEN_MS)
  }

  #become(up: boolean, reason: string): void {
    if (this.#up === up || this.#closed) return
    this.#up = up
    this.#parts.observer.sharedCacheChanged(up, reason)
  }

  /**
   * The library's own timeout takes a reply for late that is there but not yet read, whenever this process was busy
   * for as long. Here the time runs in slices, of which a standstill takes one at most, and what has come by its end
   * is read before the verdict: the loop's order is timers, input, immediates.
   */
  #inTime<T>(reply: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let slices = SLICES
      let cancel: (() => void) | null = null
      const wait = () => {
        cancel = this.#parts.clock.after(COMMAND_TIMEOUT_MS / SLICES, () => {
          slices--
          if (slices > 0) wait()
          else setImmediate(() => reject(new Error(TIMED_OUT)))
        })
      }
      wait()
      reply.finally(() => cancel?.()).then(resolve, reject)
    })
  }
}
