import { Worker } from 'node:worker_threads'
import type { Clock } from '../lib/clock.ts'
import { pause } from '../lib/clock.ts'
import { OPENED } from './operation.ts'
import type { OperationName } from './operations.ts'
import type { Reply } from './execute.ts'
import type { Message, StoreThreadData } from './store-thread.ts'

/** Longest wait for a request: a commit on a slow disk, or another process that stopped in the middle of one. */
export const REQUEST_TIMEOUT_MS = 1_000
const OPEN_TIMEOUT_MS = 5_000

/** A request that failed. */
export class StoreError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.name = 'StoreError'
    this.code = code
  }
}

interface Pending {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

/** The main thread's side of the store thread (store-thread.ts). */
export class StoreClient {
  readonly #worker: Worker
  readonly #clock: Pick<Clock, 'after'>
  readonly #pending = new Map<number, Pending>()
  readonly #ended: Promise<true>
  #lastNumber = OPENED
  #failure: StoreError | null = null
  #isClosing = false
  /** When the file is open; rejects with a StoreError. */
  readonly opened: Promise<unknown>

  constructor(data: StoreThreadData, clock: Pick<Clock, 'after'>) {
    this.#clock = clock
    // In a checkout the file has the extension .ts, in a build .js.
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
    this.#worker = new Worker(new URL(`./store-thread${extension}`, import.meta.url), {
      workerData: data,
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    })
    this.#worker.on('message', (reply: Reply) => this.#settle(reply))
    this.#worker.on('error', (error) => this.#fail(error.message))
    this.#ended = new Promise((resolve) => this.#worker.once('exit', () => resolve(true)))
    this.#worker.on('exit', () => this.#fail('the store thread has ended'))
    this.opened = this.#wait(OPENED, OPEN_TIMEOUT_MS).then(() => this.#worker.unref()) // it alone keeps no process alive
  }

  /** @throws StoreError */
  request(name: OperationName, args: readonly unknown[]): Promise<unknown> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    const reply = this.#wait(++this.#lastNumber, REQUEST_TIMEOUT_MS)
    this.#send({ number: this.#lastNumber, name, args })
    return reply
  }

  /**
   * Ends the thread, after what was requested before. It is never terminated: one that waits for another process within
   * lmdb would not end any more. Until it has ended it is referenced, which main.ts sees.
   * @returns whether it has ended by then
   */
  close(timeoutMs: number): Promise<boolean> {
    if (!this.#isClosing && this.#failure === null) {
      this.#worker.ref()
      this.#send('close')
    }
    this.#isClosing = true
    return Promise.race([this.#ended, pause(this.#clock, timeoutMs).then(() => false)])
  }

  #send(message: Message): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker, not a window
    this.#worker.postMessage(message)
  }

  #wait(number: number, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(timeoutMs, () => {
        this.#pending.delete(number)
        reject(new StoreError('TIMEOUT', 'a request timed out'))
      })
      this.#pending.set(number, {
        resolve: (result) => (cancel(), resolve(result)),
        reject: (error) => (cancel(), reject(error)),
      })
    })
  }

  #settle(reply: Reply): void {
    const pending = this.#pending.get(reply.number)
    this.#pending.delete(reply.number)
    if ('error' in reply) pending?.reject(new StoreError(reply.error.code, reply.error.message))
    else pending?.resolve(reply.result)
  }

  #fail(message: string): void {
    this.#failure ??= new StoreError('ENDED', message)
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { reject } of pending) reject(this.#failure)
  }
}
