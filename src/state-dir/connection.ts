import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { EarlyCheck } from './check-file.ts'
import { isIntact } from './check-file.ts'
import { describeStoreError } from './describe-error.ts'
import { checkSpace, FULL_DISK } from './disk-space.ts'
import {
  attempt,
  identityOf,
  moveAside,
  NewerLayoutError,
  prepareDirectory,
  readVersion,
} from './directory.ts'
import type { OperationName } from './operations.ts'
import { StoreError } from './store-client.ts'
import { StoreFile } from './store-file.ts'
import type { StoreOutage } from '../upstream/state/shared-token-bucket.ts'

export interface ConnectionOptions {
  readonly dir: string
  /** Maximum size of the answers on disk. */
  readonly answerBytes: number
  /** A check of the store file that has begun already. */
  readonly earlyCheck?: EarlyCheck | null
}

export interface ConnectionDeps {
  readonly clock: Pick<Clock, 'now' | 'wall' | 'after'>
  readonly observer: Pick<Observer, 'sharedCacheChanged' | 'stateFileReplaced'>
}

/** How often the directory is checked, and a store that failed is tried again. */
const CHECK_EVERY_MS = 2_000
/** When the first one is: by then the quota usage was read. */
const INITIAL_CHECK_MS = 250
/** Every so many checks a record is written: the file system may have become read-only. */
const WRITE_EVERY_CHECKS = 2
/** For the last commit at the end of the process, on a slow disk. */
const END_TIMEOUT_MS = 1_500
const OPENED = 'the store was opened'
const REPLACED = 'the directory or its store file was removed or replaced'

/**
 * The store in a directory, or its absence. A request that fails ends the use of the store; it is tried again at
 * intervals. Nothing here rejects.
 */
export class Connection {
  /** Names this process in the store. */
  readonly name: string = randomUUID()
  readonly #options: ConnectionOptions
  readonly #deps: ConnectionDeps
  readonly #file: StoreFile
  /** Null before the first attempt to open has ended. */
  #isUp: boolean | null = null
  /** Whether the file that is open takes requests, though the store is not up. */
  #isCounting = false
  #processes = 1
  #checks = 0
  #cancelTimer: () => void = () => {}
  #isClosed = false
  #outage: StoreOutage | null = null

  private constructor(options: ConnectionOptions, deps: ConnectionDeps) {
    this.#options = { ...options, dir: resolve(options.dir) }
    this.#deps = deps
    this.#file = new StoreFile(deps.clock)
  }

  /** @throws UnusableDirectoryError */
  static async open(options: ConnectionOptions, deps: ConnectionDeps): Promise<Connection> {
    const connection = new Connection(options, deps)
    connection.#prepareUnlessFull()
    await connection.#open()
    connection.#schedule(INITIAL_CHECK_MS)
    return connection
  }

  get isUp(): boolean {
    return this.#isUp === true
  }

  /** The time in which the store is not up, or last was not; null if it always was. */
  get outage(): StoreOutage | null {
    return this.#outage
  }

  /**
   * Whether calls can be counted. If the disk is full, or the directory was removed or replaced, processes go on counting
   * in the file that all of them have open, so that together they stay within the quota.
   */
  get canCount(): boolean {
    return this.isUp || this.#isCounting
  }

  /** Processes that use the store, as last known. */
  get processes(): number {
    return this.#processes
  }

  /** The result of the operation; undefined if it failed or was not requested. */
  async request(name: OperationName, args: readonly unknown[]): Promise<unknown> {
    return this.isUp ? this.#request(name, args) : undefined
  }

  /** The result of the operation `quota`; undefined if it failed or was not requested. */
  async count(args: readonly unknown[]): Promise<unknown> {
    return this.canCount ? this.#request('quota', args) : undefined
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#isUp = false
    this.#cancelTimer()
    await this.#file.close(END_TIMEOUT_MS).catch(() => {})
  }

  async #request(name: OperationName, args: readonly unknown[]): Promise<unknown> {
    const { client } = this.#file
    if (client === null) return undefined
    try {
      return await client.request(name, args)
    } catch (error) {
      if (client === this.#file.client) this.#fail(error)
      return undefined
    }
  }

  #schedule(ms = CHECK_EVERY_MS): void {
    this.#cancelTimer = this.#deps.clock.after(ms, () => {
      void this.#check().finally(() => {
        if (!this.#isClosed) this.#schedule()
      })
    })
  }

  async #check(): Promise<void> {
    if (!this.isUp) return this.#reopen()
    try {
      attempt(`${this.#options.dir} cannot be written`, () => this.#checkDirectory())
      if (this.#checks++ % WRITE_EVERY_CHECKS === 0) await this.#maintain()
    } catch (error) {
      this.#fail(error)
      if (error instanceof StoreError && error.code === 'REPLACED') await this.#reopen()
    }
  }

  #checkDirectory(): void {
    if (this.#file.isReplaced) throw new StoreError('REPLACED', REPLACED)
    readVersion(this.#options.dir)
    checkSpace(this.#options.dir)
  }

  async #maintain(): Promise<void> {
    const { client } = this.#file
    if (client === null) throw new StoreError('ENDED', 'the store file is not open')
    this.#processes = Number(await client.request('maintain', [this.name]))
  }

  /** Opens the store file for the first time: what it has can be read even if the disk is full. */
  async #open(): Promise<void> {
    try {
      await this.#openFile(this.#prepare())
      this.#become(true, OPENED)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Opens the store file again, unless it is open, and shows that it can be written. */
  async #reopen(): Promise<void> {
    try {
      const path = this.#prepare()
      if (!this.#file.isOpen(path)) await this.#openFile(path)
      checkSpace(this.#options.dir)
      await this.#maintain()
      this.#become(true, OPENED)
    } catch (error) {
      this.#fail(error)
    }
  }

  #prepare(): string {
    return prepareDirectory(this.#options.dir, (path, keptAs) =>
      this.#deps.observer.stateFileReplaced(path, keptAs),
    )
  }

  /** A full disk may have space again, so it does not prevent the start. */
  #prepareUnlessFull(): void {
    try {
      this.#prepare()
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
    }
  }

  /** lmdb reports a write that was cut short as an error of the device. */
  #explained(error: unknown): unknown {
    try {
      checkSpace(this.#options.dir)
      return error
    } catch (other) {
      return other === FULL_DISK ? other : error
    }
  }

  async #openFile(path: string): Promise<void> {
    this.#isCounting = false
    await this.#file.close()
    const { observer } = this.#deps
    const { answerBytes, earlyCheck } = this.#options
    const identity = identityOf(path)
    const isFirst = this.#isUp === null && earlyCheck?.identity === identity
    // Another process may have replaced the file meanwhile.
    if (!(await (isFirst ? earlyCheck.isIntact : isIntact(path))) && identityOf(path) === identity) {
      observer.stateFileReplaced(path, moveAside(path))
      this.#prepare()
    }
    if (this.#isClosed) return
    await this.#file.open(path, answerBytes, () => this.#prepare())
  }

  /**
   * After an error of its own lmdb may not use the file again until it is opened again, and one of a newer layout may not
   * be used at all. A request that timed out still runs.
   */
  #fail(error: unknown): void {
    this.#become(false, describeStoreError(this.#explained(error)))
    const code = error instanceof StoreError ? error.code : null
    const isNewer = error instanceof NewerLayoutError
    const isUsable = !isNewer && (code === null || code === 'REPLACED' || code === 'ENOSPC')
    this.#isCounting = this.#file.client !== null && isUsable
    if (!isUsable && code !== 'TIMEOUT') this.#file.discard()
  }

  #become(isUp: boolean, reason: string): void {
    if (this.#isUp === isUp || this.#isClosed) return
    this.#isUp = isUp
    const now = this.#deps.clock.now()
    if (!isUp) this.#outage = { since: now, until: null }
    else if (this.#outage !== null) this.#outage = { since: this.#outage.since, until: now }
    this.#deps.observer.sharedCacheChanged(isUp, reason)
  }
}
