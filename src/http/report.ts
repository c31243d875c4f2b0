import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Observer } from '../observer.ts'

/** Tells the observer of an answer that is being sent. */
export type Report = (request: FastifyRequest, reply: FastifyReply) => void

export function reporter(observer: Observer, accessLog: boolean): Report {
  return (request, reply) => {
    const { trackingId, format, result } = request
    const { statusCode: status } = reply.raw
    const ms = performance.now() - request.startedAt
    observer.requestAnswered(format, status, result, ms / 1000)
    if (!accessLog) return
    observer.accessed({ trackingId, method: request.method, path: pathOf(request.url), status, result, ms })
  }
}

/** Without the query, for that may hold a key. */
function pathOf(target: string): string {
  return target.split('?', 1)[0] ?? ''
}
