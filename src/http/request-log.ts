import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Access, Observer } from '../events.ts'
import { traceIdOf } from './request-context.ts'
import { loggedPath, originForm } from './request-target.ts'

/** Reports a response to the observer, when its headers have been sent. */
export type LogRequest = (request: FastifyRequest, reply: FastifyReply) => void

export function createRequestLogger(
  observer: Pick<Observer, 'requestAnswered' | 'accessLogged'>,
  accessLog: boolean,
): LogRequest {
  return (request, reply) => {
    const { format, result } = request
    const { statusCode: status } = reply.raw
    const ms = performance.now() - request.startedAt
    observer.requestAnswered(format, status, result, ms / 1000)
    if (!accessLog) return
    const { method, originalUrl } = request
    observer.accessLogged({
      ...correlationFields(request),
      method,
      path: loggedPath(originForm(originalUrl)),
      status,
      result,
      ms,
    })
  }
}

/** The fields by which a request's log lines are found. */
export function correlationFields({
  trackingId,
  headers,
  client,
}: FastifyRequest): Pick<Access, 'trackingId' | 'traceId' | 'client'> {
  const traceId = traceIdOf(headers.traceparent)
  return { trackingId, ...(traceId !== null && { traceId }), ...(client !== null && { client }) }
}
