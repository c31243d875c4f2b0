import { ServiceError } from '../../errors.ts'
import type { StreamEnd, StreamKind } from '../../events.ts'

/** Streams and long polls that one client, or one address, may have open. */
const MAX_PER_CLIENT = 20
const RETRY_AFTER_MS = 10_000

/** A response that is held open. */
export interface OpenStream {
  readonly kind: StreamKind
  /** The client's name or network. */
  readonly client: string
  /** Whether the client's key is still valid. */
  readonly isAdmitted: () => boolean
  readonly end: (reason: StreamEnd) => void
}

/** All streams and long polls that are open, bounded in all and for each client. */
export class Streams {
  readonly #max: number
  readonly #open = new Set<OpenStream>()
  readonly #perClient = new Map<string, number>()
  #isDraining = false

  /** @param max how many may be open at once; 0 switches streams and long polls off */
  constructor(max: number) {
    this.#max = max
  }

  get isEnabled(): boolean {
    return this.#max > 0
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  count(kind: StreamKind): number {
    let count = 0
    for (const stream of this.#open) if (stream.kind === kind) count++
    return count
  }

  /** @throws ServiceError TooManyStreams, or TooManyRequests for this client */
  checkRoomFor(client: string): void {
    if ((this.#perClient.get(client) ?? 0) >= MAX_PER_CLIENT) {
      const reason = 'the client has too many streams open'
      throw new ServiceError('TooManyRequests', { reason, retryAfterMs: RETRY_AFTER_MS })
    }
    if (this.#open.size >= this.#max) {
      throw new ServiceError('TooManyStreams', {
        reason: 'EVENTS_MAX_STREAMS are open',
        retryAfterMs: RETRY_AFTER_MS,
      })
    }
  }

  /** Adds an open stream until the returned function is called. */
  add(stream: OpenStream): () => void {
    const { client } = stream
    this.#open.add(stream)
    this.#perClient.set(client, (this.#perClient.get(client) ?? 0) + 1)
    return () => {
      if (!this.#open.delete(stream)) return
      const left = (this.#perClient.get(client) ?? 0) - 1
      if (left > 0) this.#perClient.set(client, left)
      else this.#perClient.delete(client)
    }
  }

  /** Ends the streams of clients whose keys have been removed. */
  readonly endRemovedClients = (): void => {
    for (const stream of this.#open) if (!stream.isAdmitted()) stream.end('key')
  }

  endAll(reason: StreamEnd): void {
    for (const stream of this.#open) stream.end(reason)
  }

  /** Ends all, and from now on each new one at once. */
  drain(): void {
    this.#isDraining = true
    this.endAll('draining')
  }
}
