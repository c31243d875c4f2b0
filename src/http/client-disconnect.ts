import type { FastifyReply } from 'fastify'
import { hasLeft } from '../lib/connection.ts'

/** The reason with which a disconnected client detaches from the call that it waited for. */
export class ClientDisconnectedError extends Error {
  constructor() {
    super('the client closed its connection')
    this.name = 'ClientDisconnectedError'
  }
}

/** Aborts when the client's connection closes before the response was written. */
export function abortOnDisconnect(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  if (hasLeft(reply.raw)) controller.abort(new ClientDisconnectedError())
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new ClientDisconnectedError()) // an error's trace costs 40 µs
  })
  return controller.signal
}
