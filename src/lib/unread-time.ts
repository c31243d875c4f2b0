import type { Socket } from 'node:net'

type Internals = Socket & {
  readonly _handle?: { readonly bytesWritten: number; readonly writeQueueSize: number } | null
}

/** How long a client has read nothing of what is sent to it. What it sends meanwhile does not count. */
export class UnreadTime {
  #taken = -1
  #since = 0

  /** In ms, as far as earlier calls have seen it; 0 if everything has been taken by the kernel, which does so as the client reads. */
  of(socket: Internals, now: number): number {
    const { _handle: handle } = socket
    if (!handle || socket.writableLength === 0) {
      this.#taken = -1
      return 0
    }
    const taken = handle.bytesWritten - handle.writeQueueSize
    if (taken !== this.#taken) {
      this.#taken = taken
      this.#since = now
    }
    return now - this.#since
  }
}
