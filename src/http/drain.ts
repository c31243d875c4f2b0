import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../lib/clock.ts'

export interface DrainOptions {
  /** How long to go on answering, not ready and with `Connection: close`, before the listener closes. */
  readonly delayMs: number
  /** Longest time for all of it; then open connections are cut. */
  readonly timeoutMs: number
}

export type Drain = (options: DrainOptions, clock: Clock) => Promise<void>

/** Idle keep-alive connections are looked for so often: one becomes idle whenever a last answer has left. */
const LOOK_EVERY_MS = 50
/**
 * A connection that is busy looks idle between two requests, and the next may be on its way already. So connections in
 * use get this much time, whatever the delay, for an answer that says `Connection: close`.
 */
const GRACE_MS = 250

/**
 * Closes a server without losing a request: what is in flight finishes, connections that are idle are closed as
 * they become so. Without that, a keep-alive client holds the close for over a minute. To be called before the server
 * listens, for it must know every connection.
 */
export function createDrain(app: FastifyInstance): Drain {
  const { server } = app
  const connections = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  const closeIdle = () => {
    server.closeIdleConnections()
    for (const socket of connections) if (isUnused(socket)) socket.destroy()
  }

  return async ({ delayMs, timeoutMs }, clock) => {
    let closed = false
    const hardStop = clock.after(timeoutMs, () => {
      closed = true
      server.closeAllConnections()
    })
    const graceMs = [...connections].every(isUnused) ? 0 : GRACE_MS
    await new Promise<void>((resolve) => {
      clock.after(Math.min(Math.max(delayMs, graceMs), timeoutMs), resolve)
    })
    const look = () => {
      closeIdle()
      if (!closed) clock.after(LOOK_EVERY_MS, look)
    }
    look()
    await app.close()
    closed = true
    hardStop()
  }
}

/** Opened beforehand by a client or balancer that has sent nothing: Node does not count those as idle. */
function isUnused({ bytesRead }: Socket): boolean {
  return bytesRead === 0
}
