import { backoffMs } from '../lib/backoff.ts'
import type { Clock } from '../lib/clock.ts'
import type { Observer } from '../events.ts'
import { describeRedisError, isRejectedCommand, TIMED_OUT } from './errors.ts'
import type { StoreOutage } from '../upstream/state/shared-token-bucket.ts'

/** Longest wait for a command, unless it or the caller says otherwise. */
export const COMMAND_TIMEOUT_MS = 100
const SLICES = 4
/** How long the circuit stays open: doubles with each opening, until the circuit has been closed for the longest. */
const INITIAL_OPEN_MS = 1_000
const MAX_OPEN_MS = 5_000
const REJECTED_EVERY_MS = 60_000

export interface RedisBreakerDeps {
  /** A harmless command that writes: a read-only server cannot be used. */
  readonly probe: () => Promise<unknown>
  /** Replaces the connection, which may lead to a server that is gone. */
  readonly reconnect: () => void
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly observer: Pick<Observer, 'sharedCacheChanged' | 'sharedCommandRejected'>
  /** Replaces `COMMAND_TIMEOUT_MS`, in ms. */
  readonly commandTimeoutMs?: number | undefined
}

/**
 * The circuit breaker in front of Redis. The first command that fails or times out opens it. While it is open commands
 * are not sent, so requests lose no time; probes are sent at intervals, and the first that succeeds closes it.
 */
export class RedisBreaker {
  readonly #deps: RedisBreakerDeps
  readonly #commandTimeoutMs: number
  /** `connecting` until the first attempt has ended. */
  #state: 'connecting' | 'closed' | 'open' = 'connecting'
  /** Openings in a row, without a long enough time closed in between. */
  #openings = 0
  #outage: StoreOutage | null = null
  #probing: Promise<void> | null = null
  #stopped = false
  #isRejectedReported = false
  #cancelTimer: () => void = () => {}

  constructor(deps: RedisBreakerDeps) {
    this.#deps = deps
    this.#commandTimeoutMs = deps.commandTimeoutMs ?? COMMAND_TIMEOUT_MS
  }

  get isUp(): boolean {
    return this.#state === 'closed'
  }

  /** While the circuit is open, or was open for the last time; null if it never was. */
  get outage(): StoreOutage | null {
    return this.#outage
  }

  /** Whether the first attempt to connect has ended, successfully or not. */
  get isSettled(): boolean {
    return this.#state !== 'connecting'
  }

  /**
   * The command's reply; undefined if it failed or was not sent. Never rejects. A command that the server rejects for its
   * arguments is reported and opens no circuit.
   */
  async run<T>(command: () => Promise<T>, timeoutMs = this.#commandTimeoutMs): Promise<T | undefined> {
    if (!this.isUp) return undefined
    try {
      return await this.#withTimeout(command(), timeoutMs)
    } catch (error) {
      if (isRejectedCommand(error)) this.#reportRejected(error)
      else this.reportFailure(error)
      return undefined
    }
  }

  /** At most once a minute: the command may be repeated with every request. */
  #reportRejected(error: unknown): void {
    if (this.#isRejectedReported) return
    this.#isRejectedReported = true
    this.#deps.observer.sharedCommandRejected(describeRedisError(error))
    this.#deps.clock.after(REJECTED_EVERY_MS, () => {
      this.#isRejectedReported = false
    })
  }

  /** Opens the circuit. */
  reportFailure(error: unknown): void {
    if (this.#state !== 'open') this.#open(error)
  }

  /** Probes now, because Redis may be back. */
  async probe(): Promise<void> {
    if (this.isUp || this.#stopped) return
    this.#probing ??= this.#probe()
    await this.#probing
    this.#probing = null
  }

  /** Sends nothing from now on. */
  stop(): void {
    this.#stopped = true
    this.#state = 'open'
    this.#cancelTimer()
  }

  async #probe(): Promise<void> {
    this.#cancelTimer()
    try {
      await this.#withTimeout(this.#deps.probe())
      this.#close()
    } catch (error) {
      this.#open(error)
      this.#deps.reconnect()
    }
  }

  #close(): void {
    this.#become('closed', 'a command succeeded')
    this.#cancelTimer = this.#deps.clock.after(MAX_OPEN_MS, () => {
      this.#openings = 0
    })
  }

  #open(error: unknown): void {
    if (this.#stopped) return
    this.#become('open', describeRedisError(error))
    this.#cancelTimer()
    this.#openings++
    const openMs = backoffMs(INITIAL_OPEN_MS, MAX_OPEN_MS, this.#openings)
    this.#cancelTimer = this.#deps.clock.after(openMs, () => void this.probe())
  }

  #become(state: 'closed' | 'open', reason: string): void {
    if (this.#state === state || this.#stopped) return
    this.#state = state
    const now = this.#deps.clock.now()
    if (state === 'open') this.#outage = { since: now, until: null }
    else if (this.#outage !== null) this.#outage = { since: this.#outage.since, until: now }
    this.#deps.observer.sharedCacheChanged(state === 'closed', reason)
  }

  /**
   * The library's own timeout rejects a reply that has arrived and is not yet read, whenever this process was busy for
   * that long. Here the time runs in slices, of which a pause of the process takes at most one, and replies that have
   * arrived by the end are read before the decision: the order of the event loop is timers, input, immediates.
   */
  #withTimeout<T>(reply: Promise<T>, timeoutMs = this.#commandTimeoutMs): Promise<T> {
    return new Promise((resolve, reject) => {
      let slices = SLICES
      let cancel: (() => void) | null = null
      const wait = () => {
        cancel = this.#deps.clock.after(timeoutMs / SLICES, () => {
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
