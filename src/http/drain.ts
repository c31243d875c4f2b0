import type { FastifyInstance } from 'fastify'
import type { Clock } from '../clock.ts'

export interface DrainOptions {
  /** How long to go on answering, not ready and with `Connection: close`, before the listener closes. */
  readonly delayMs: number
  /** Longest time for all of it; then open connections are cut. */
  readonly timeoutMs: number
}

/** Idle keep-alive connections are looked for so often: one becomes idle whenever a last answer has left. */
const LOOK_EVERY_MS = 50

/**
 * Closes a server without losing a request: what is in flight finishes, connections that are idle are closed as
 * they become so. Without that, a keep-alive client holds the close for over a minute.
 */
export async function drain(
  app: FastifyInstance,
  { delayMs, timeoutMs }: DrainOptions,
  clock: Clock,
): Promise<void> {
  const { server } = app
  let closed = false
  const hardStop = clock.after(timeoutMs, () => {
    closed = true
    server.closeAllConnections()
  })
  await new Promise<void>((resolve) => {
    clock.after(Math.min(delayMs, timeoutMs), resolve)
  })
  const look = () => {
    server.closeIdleConnections()
    if (!closed) clock.after(LOOK_EVERY_MS, look)
  }
  look()
  await app.close()
  closed = true
  hardStop()
}
