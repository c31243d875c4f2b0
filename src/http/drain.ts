import type { FastifyInstance } from 'fastify'
import type { Clock } from '../lib/clock.ts'
import { pause } from '../lib/clock.ts'
import { connectionsIn } from '../lib/http-server.ts'

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
/** The age from which on a connection without a byte is closed: the request of a younger one may be in the kernel. */
const UNUSED_MS = 1_000

/**
 * Closes a server without losing a request: requests in flight complete, and connections are closed as they become
 * idle. Without that, a keep-alive client would delay the close for over a minute.
 */
export function createDrain(app: FastifyInstance): Drain {
  const { server } = app
  const connections = connectionsIn(server)

  return async ({ delayMs, timeoutMs }, clock) => {
    if (!server.listening) {
      await app.close()
      return
    }
    let closed = false
    connections.drain()
    const cancelTimeout = clock.after(timeoutMs, () => {
      closed = true
      server.closeAllConnections()
    })
    const graceMs = connections.allUnused ? 0 : GRACE_MS
    await pause(clock, Math.min(Math.max(delayMs, graceMs), timeoutMs))
    const closeIdle = () => {
      // After the poll phase, which reads what has arrived since the timer was due.
      setImmediate(() => connections.closeIdle(UNUSED_MS))
      if (!closed) clock.after(CLOSE_IDLE_INTERVAL_MS, closeIdle)
    }
    closeIdle()
    // Before the framework's own close, after which it adds `Connection: close` to every response, the last or not.
    await new Promise<void>((resolve) => server.close(() => resolve()))
    await app.close()
    closed = true
    cancelTimeout()
  }
}
