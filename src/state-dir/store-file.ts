import type { Clock } from '../lib/clock.ts'
import { identityOf } from './directory.ts'
import { removeForeignLock } from './lock-file.ts'
import { StoreClient, StoreError } from './store-client.ts'

const CLOSE_TIMEOUT_MS = 300

/** The store file that this process has open, or none. */
export class StoreFile {
  readonly #clock: Pick<Clock, 'after'>
  #client: StoreClient | null = null
  /** The last thread that was closed or did not open; it may not have ended. */
  #former: StoreClient | null = null
  #path = ''
  #identity: string | null = null

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock
  }

  /** Null if no file is open. */
  get client(): StoreClient | null {
    return this.#client
  }

  /** Whether the file that is open has been removed or replaced. */
  get isReplaced(): boolean {
    return identityOf(this.#path) !== this.#identity
  }

  /** Whether the file with this path is open. */
  isOpen(path: string): boolean {
    return this.#client !== null && identityOf(path) === this.#identity
  }

  /**
   * Opens a file that was checked.
   * @param prepare - creates a file that is missing
   * @throws StoreError
   */
  async open(path: string, answerBytes: number, prepare: () => void): Promise<void> {
    if (removeForeignLock(path)) prepare()
    const client = new StoreClient({ path, answerBytes }, this.#clock)
    this.#former = client
    await client.opened
    this.#former = null
    this.#client = client
    this.#path = path
    this.#identity = identityOf(path)
  }

  /** Gives up the file that is open. */
  discard(): void {
    if (this.#client === null) return
    this.#former = this.#client
    this.#client = null
    void this.#former.close(0)
  }

  /**
   * Ends the thread that has a file open. Until then none can be opened: lmdb shares what a process opens twice.
   * @throws StoreError if the thread does not end by then, because another process holds the lock
   */
  async close(timeoutMs = CLOSE_TIMEOUT_MS): Promise<void> {
    this.discard()
    if (this.#former !== null && !(await this.#former.close(timeoutMs))) {
      throw new StoreError('TIMEOUT', 'a request timed out')
    }
    this.#former = null
  }
}
