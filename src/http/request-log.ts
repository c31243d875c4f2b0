import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Access, Observer } from '../events.ts'
import type { AddressDetail } from './client-address.ts'
import { clientAddress } from './client-address.ts'
import { traceIdOf } from './request-context.ts'
import { loggedPath, originForm } from './request-target.ts'

/** Reports a response to the observer, when its headers have been sent; or the status in place of one. */
export type LogRequest = (request: FastifyRequest, reply: FastifyReply, status?: number) => void

export function createRequestLogger(
  observer: Pick<Observer, 'requestAnswered' | 'accessLogged'>,
  { accessLog, addressDetail }: { readonly accessLog: boolean; readonly addressDetail: AddressDetail },
): LogRequest {
  return (request, reply, status = reply.raw.statusCode) => {
    const { format, result } = request
    const ms = performance.now() - request.startedAt
    observer.requestAnswered(format, status, result, ms / 1000)
    if (!accessLog) return
    const { method, originalUrl } = request
    observer.accessLogged({
      ...correlationFields(request, addressDetail),
      method,
      path: loggedPath(originForm(originalUrl)),
      status,
      result,
      ms,
    })
  }
}

/** The fields by which a request's log lines are found. */
export function correlationFields(
  request: FastifyRequest,
  addressDetail: AddressDetail,
): Pick<Access, 'trackingId' | 'traceId' | 'client' | 'clientAddress'> {
  const { trackingId, headers, client } = request
  const traceId = traceIdOf(headers.traceparent)
  const address = clientAddress(request, addressDetail)
  return {
    trackingId,
    ...(traceId !== null && { traceId }),
    ...(client !== null && { client }),
    ...(address !== null && { clientAddress: address }),
  }
}
