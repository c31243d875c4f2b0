import type { Socket } from 'node:net'

type Internals = Socket & {
  readonly _handle?: { readonly bytesWritten: number; readonly writeQueueSize: number } | null
}

/** Whether the kernel takes no more until the client reads. */
export const waitsForClient = ({ _handle: handle }: Internals) => (handle?.writeQueueSize ?? 0) > 0

/** Bytes in a ms, so 1 KB/s: less than any link that is in use. */
export const MIN_RATE = 1

/**
 * How far a client is behind one that reads at the least rate, while something waits for it. What it sends meanwhile does
 * not count.
 */
export class UnreadTime {
  #taken = -1
  #seenAt = 0
  #behindMs = 0

  /** As of the last call of {@link of}. */
  get last(): number {
    return this.#behindMs
  }

  /**
   * In ms, as far as earlier calls have seen it: the time for which it has read nothing, less what it has read. 0 if
   * everything has been taken by the kernel, which does so as the client reads.
   */
  of(socket: Internals, now: number): number {
    const { _handle: handle } = socket
    if (!handle || socket.writableLength === 0) {
      this.#taken = -1
      this.#behindMs = 0
      return 0
    }
    const taken = handle.bytesWritten - handle.writeQueueSize
    if (this.#taken !== -1) {
      const passed = now - this.#seenAt - (taken - this.#taken) / MIN_RATE
      this.#behindMs = Math.max(0, this.#behindMs + passed)
    }
    this.#taken = taken
    this.#seenAt = now
    return this.#behindMs
  }
}
