import { statfs } from 'node:fs/promises'
import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import { isIntact } from './check-file.ts'
import { describeStoreError } from './describe-error.ts'
import { identityOf, moveAside, prepareDirectory } from './directory.ts'
import type { OperationName } from './operations.ts'
import { StoreClient, StoreError } from './store-client.ts'

export interface ConnectionOptions {
  readonly dir: string
  /** Maximum size of the answers on disk. */
  readonly answerBytes: number
}

export interface ConnectionDeps {
  readonly clock: Pick<Clock, 'after' | 'wall'>
  readonly observer: Pick<Observer, 'sharedCacheChanged' | 'stateFileReplaced'>
}

/** How often the directory is checked, and a store that failed is tried again. */
const CHECK_EVERY_MS = 2_000
/** When the first one is: by then the quota usage was read. */
const INITIAL_CHECK_MS = 250
/** Every so many checks a record is written: the file system may have become read-only. */
const WRITE_EVERY_CHECKS = 2
/** With less free space the disk counts as full: a commit would fail soon, and then succeed by chance. */
const MIN_FREE_BYTES = 128 * 1024

const OPENED = 'the store was opened'
const REPLACED = 'the directory or its store file was removed or replaced'

/**
 * The store in a directory, or its absence. A request that fails ends the use of the store; it is tried again at
 * intervals. Nothing here rejects.
 */
export class Connection {
  readonly #options: ConnectionOptions
  readonly #deps: ConnectionDeps
  #client: StoreClient | null = null
  /** The store file that is open. */
  #path = ''
  #identity: string | null = null
  /** Null before the first attempt to open has ended. */
  #isUp: boolean | null = null
  #checks = 0
  #cancelTimer: () => void = () => {}
  #isClosed = false

  private constructor(options: ConnectionOptions, deps: ConnectionDeps) {
    this.#options = options
    this.#deps = deps
  }

  /** @throws UnusableDirectoryError */
  static async open(options: ConnectionOptions, deps: ConnectionDeps): Promise<Connection> {
    prepareUnlessFull(options.dir)
    const connection = new Connection(options, deps)
    await connection.#open()
    connection.#schedule(INITIAL_CHECK_MS)
    return connection
  }

  get isUp(): boolean {
    return this.#isUp === true
  }

  /** The result of the operation; undefined if it failed or was not requested. */
  async request(name: OperationName, args: readonly unknown[]): Promise<unknown> {
    if (!this.isUp || this.#client === null) return undefined
    try {
      return await this.#client.request(name, args)
    } catch (error) {
      this.#fail(await this.#explained(error))
      return undefined
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#isUp = false
    this.#cancelTimer()
    await this.#client?.close()
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
      if (identityOf(this.#path) !== this.#identity) throw new StoreError('REPLACED', REPLACED)
      await this.#checkSpace()
      if (this.#checks++ % WRITE_EVERY_CHECKS === 0) await this.#client?.request('maintain', [])
    } catch (error) {
      this.#fail(await this.#explained(error))
      if (error instanceof StoreError && error.code === 'REPLACED') await this.#reopen()
    }
  }

  /** Opens the store file for the first time: what it has can be read even if the disk is full. */
  async #open(): Promise<void> {
    try {
      await this.#openFile(prepareDirectory(this.#options.dir))
      this.#become(true, OPENED)
    } catch (error) {
      this.#fail(await this.#explained(error))
    }
  }

  /** Opens the store file again, unless it is open, and shows that it can be written. */
  async #reopen(): Promise<void> {
    try {
      const path = prepareDirectory(this.#options.dir)
      await this.#checkSpace()
      if (this.#client === null || identityOf(path) !== this.#identity) await this.#openFile(path)
      await this.#client?.request('maintain', [])
      this.#become(true, OPENED)
    } catch (error) {
      this.#fail(await this.#explained(error))
    }
  }

  async #checkSpace(): Promise<void> {
    if ((await this.#freeBytes()) < MIN_FREE_BYTES) throw new StoreError('ENOSPC', 'no space left')
  }

  /** lmdb reports a write that was cut short as an error of the device. */
  async #explained(error: unknown): Promise<unknown> {
    try {
      await this.#checkSpace()
      return error
    } catch (other) {
      return other instanceof StoreError ? other : error
    }
  }

  async #freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#options.dir)
    return bavail * bsize
  }

  async #openFile(path: string): Promise<void> {
    this.#identity = null
    await this.#client?.close()
    this.#client = null
    const { clock, observer } = this.#deps
    const { dir, answerBytes } = this.#options
    const identity = identityOf(path)
    // Another process may have replaced the file meanwhile.
    if (!(await isIntact(path)) && identityOf(path) === identity) {
      observer.stateFileReplaced(path, moveAside(path))
      prepareDirectory(dir)
    }
    if (this.#isClosed) return
    this.#path = path
    this.#client = await StoreClient.open({ path, answerBytes }, clock)
    this.#identity = identityOf(path)
  }

  /** After an error lmdb may not use the file again until it is opened again. A request that timed out still runs. */
  #fail(error: unknown): void {
    this.#become(false, describeStoreError(error))
    if (error instanceof StoreError && error.code === 'TIMEOUT') return
    const client = this.#client
    this.#client = null
    void client?.close()
  }

  #become(isUp: boolean, reason: string): void {
    if (this.#isUp === isUp || this.#isClosed) return
    this.#isUp = isUp
    this.#deps.observer.sharedCacheChanged(isUp, reason)
  }
}

/** A full disk may have space again, so it does not prevent the start. */
function prepareUnlessFull(dir: string): void {
  try {
    prepareDirectory(dir)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
  }
}
