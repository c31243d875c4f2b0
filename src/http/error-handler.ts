import type { FastifyReply, FastifyRequest } from 'fastify'
import { asServiceError, malformedRequest, ServiceError, TOO_MUCH_WAITS } from '../errors.ts'
import type { Observer } from '../events.ts'
import { isLastResponse } from '../lib/connection.ts'
import { ClientDisconnectedError } from './client-disconnect.ts'
import type { AddressDetail } from './client-address.ts'
import type { CorsOrigins } from './cors.ts'
import { errorFormat, renderErrorResponse } from './error-body.ts'
import { isAvailabilityPath, isBatchPath } from './paths.ts'
import { correlationFields } from './request-log.ts'

export interface ErrorHandlerOptions {
  readonly corsOrigins: CorsOrigins
  readonly addressDetail: AddressDetail
  readonly isDraining: () => boolean
}

export type SendError = (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => void

/** Responds to anything thrown with the documented error; `reason` and `cause` go to the observer only. */
export function createErrorHandler(
  { corsOrigins, addressDetail, isDraining }: ErrorHandlerOptions,
  observer: Pick<Observer, 'requestFailed' | 'overloaded'>,
): SendError {
  return (thrown, request, reply) => {
    if (thrown instanceof ClientDisconnectedError) {
      reply.hijack()
      return
    }
    const error = serviceErrorOf(thrown)
    const { url: target, trackingId, station, headers: requestHeaders } = request
    if (isAvailabilityPath(target) || isBatchPath(target)) request.format = errorFormat(target)
    if (error === TOO_MUCH_WAITS) observer.overloaded()
    observer.requestFailed({
      ...correlationFields(request, addressDetail),
      ...(error.status < 500 && userAgentField(requestHeaders['user-agent'])),
      ...(station !== null && { station }),
      code: error.code,
      status: error.status,
      reason: error.reason ?? error.detail,
      cause: error.cause,
    })
    const { origin } = requestHeaders
    const { headers, body } = renderErrorResponse(error, { target, trackingId, origin }, corsOrigins)
    if (isDraining() && isLastResponse(reply.raw)) headers['connection'] = 'close'
    reply.code(error.status).headers(headers).send(body)
  }
}

const MAX_USER_AGENT_LENGTH = 200

function userAgentField(userAgent: string | undefined): { userAgent?: string } {
  return userAgent === undefined ? {} : { userAgent: userAgent.slice(0, MAX_USER_AGENT_LENGTH) }
}

/** Fastify's own 4xx errors are caused by the request; every other unknown error is a 500. */
function serviceErrorOf(thrown: unknown): ServiceError {
  const { statusCode } = thrown as { statusCode?: unknown }
  if (statusCode === 408) return new ServiceError('RequestTimeout')
  if (statusCode === 413) return new ServiceError('PayloadTooLarge')
  if (statusCode === 415) return new ServiceError('UnsupportedMediaType')
  if (statusCode === TOO_MUCH_WAITS.status) return TOO_MUCH_WAITS // there was no room for the body
  const isClientError = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
  return isClientError ? malformedRequest('The request is not valid') : asServiceError(thrown)
}
