import type { Socket } from 'node:net'
import { Turns } from './turns.ts'

/** A turn of the event loop that has read connections for so long reads no other. */
export const MAX_READING_MS = 20

/** Node reads while `reading` is true. It changes that, and so the handle, when a reader or a buffer is full. */
type Internals = Socket & {
  readonly _handle?: { readonly reading: boolean; readStart(): void; readStop(): void } | null
}

/**
 * Reads the connections of a server in turns if that takes long. A packet is parsed as a whole: its hundred requests, or its
 * ten thousand chunks, take up to 10 ms, and Node parses a packet of every connection that has one in one turn of the event
 * loop, while nothing else is done. Here the others wait when a turn has taken long, and then follow in slices. Those that
 * have waited longest are first.
 */
export class ReadTurns {
  readonly #sockets: () => Iterable<Socket>
  readonly #turns = new Turns(MAX_READING_MS)
  readonly #stopped = new Set<Socket>()
  #markedAt = 0
  /** The turn of the mark has not ended. */
  #isTurnOpen = false

  /** @param sockets the open connections */
  constructor(sockets: () => Iterable<Socket>) {
    this.#sockets = sockets
  }

  /** Whether the connection waits to be read. */
  isWaiting(socket: Socket): boolean {
    return this.#stopped.has(socket)
  }

  /**
   * Called while a packet is parsed. The time is compared with a mark that is set from time to time, as a mark in each turn
   * would cost each of them an immediate function: so it may take twice as long until others wait.
   */
  parsing(now: number): void {
    if (now - this.#markedAt < MAX_READING_MS) return
    this.#markedAt = now
    if (this.#isTurnOpen) this.#stopAll()
    else setImmediate(this.#endTurn)
    this.#isTurnOpen = true
  }

  /** Resolves when it is the turn of one that waits from now on. */
  next(): Promise<void> {
    return this.#turns.next()
  }

  readonly #endTurn = (): void => {
    this.#isTurnOpen = false
  }

  #stopAll(): void {
    for (const socket of this.#sockets()) {
      const { _handle: handle } = socket as Internals
      if (!handle?.reading || socket.readableEnded || this.#stopped.has(socket)) continue
      handle.readStop()
      this.#stopped.add(socket)
      void this.#turns.next().then(() => this.#resume(socket))
    }
  }

  #resume(socket: Socket): void {
    this.#stopped.delete(socket)
    const { _handle: handle } = socket as Internals
    if (handle?.reading && !socket.readableEnded) handle.readStart()
  }
}
