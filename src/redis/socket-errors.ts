import type { Redis } from 'ioredis'
import type { Socket } from 'node:net'

const SOCKET = Symbol('socket')

/**
 * From now on each socket of ioredis keeps a listener for errors. ioredis listens for one error only, but a TLS socket has
 * two: one for bytes that it cannot decrypt, which does not close it, and one when it is closed. The second would end the
 * process. A property of the prototype reaches the connections that ioredis opens by itself as well: to sentinels, to
 * the nodes of a cluster, and for the messages of a cluster.
 */
export function keepErrorListeners(prototype: Redis): void {
  if (Object.hasOwn(prototype, 'stream')) return
  Object.defineProperty(prototype, 'stream', {
    get(this: { [SOCKET]?: Socket }) {
      return this[SOCKET]
    },
    set(this: { [SOCKET]?: Socket }, socket: Socket) {
      socket.on('error', () => {}) // reported by ioredis' own listener, and as the end of the connection
      this[SOCKET] = socket
    },
  })
}
