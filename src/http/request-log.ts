import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Access, Observer } from '../events.ts'
import { loggedPath } from './request-target.ts'
import { traceIdOf } from './trace-context.ts'

/** Tells the observer of an answer that is being sent. */
export type LogRequest = (request: FastifyRequest, reply: FastifyReply) => void

export function createRequestLogger(observer: Observer, accessLog: boolean): LogRequest {
  return (request, reply) => {
    const { format, result } = request
    const { statusCode: status } = reply.raw
    const ms = performance.now() - request.startedAt
    observer.requestAnswered(format, status, result, ms / 1000)
    if (!accessLog) return
    const { method, url } = request
    observer.accessLogged({
      ...correlationFields(request),
      method,
      path: loggedPath(url),
      status,
      result,
      ms,
    })
  }
}

/** What a request is found by in the log. */
export function correlationFields({
  trackingId,
  headers,
  client,
}: FastifyRequest): Pick<Access, 'trackingId' | 'traceId' | 'client'> {
  const traceId = traceIdOf(headers.traceparent)
  return { trackingId, ...(traceId !== null && { traceId }), ...(client !== null && { client }) }
}
