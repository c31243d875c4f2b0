import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../lib/clock.ts'

export interface DrainOptions {
  /** How long requests are still answered, not ready and with `Connection: close`, before the listener closes. */
  readonly delayMs: number
  /** Maximum duration of the whole drain; then open connections are destroyed. */
  readonly timeoutMs: number
}

export type Drain = (options: DrainOptions, clock: Clock) => Promise<void>

/** How often idle keep-alive connections are closed: each becomes idle after its last response. */
const CLOSE_IDLE_INTERVAL_MS = 50
/**
 * A busy connection looks idle between two requests, and the next one may already be on its way. So used connections get
 * at least this much time, whatever the delay, for a response with `Connection: close`.
 */
const GRACE_MS = 250

/**
 * Closes a server without losing a request: requests in flight complete, and connections are closed as they become
 * idle. Without that, a keep-alive client would delay the close for over a minute. Must be called before the server
 * listens, because it tracks every connection.
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
    const cancelTimeout = clock.after(timeoutMs, () => {
      closed = true
      server.closeAllConnections()
    })
    const graceMs = [...connections].every(isUnused) ? 0 : GRACE_MS
    await new Promise<void>((resolve) => {
      clock.after(Math.min(Math.max(delayMs, graceMs), timeoutMs), resolve)
    })
    const closeIdleUntilClosed = () => {
      closeIdle()
      if (!closed) clock.after(CLOSE_IDLE_INTERVAL_MS, closeIdleUntilClosed)
    }
    closeIdleUntilClosed()
    await app.close()
    closed = true
    cancelTimeout()
  }
}

/** A connection on which a client or load balancer has sent nothing yet: Node does not count it as idle. */
function isUnused({ bytesRead }: Socket): boolean {
  return bytesRead === 0
}
