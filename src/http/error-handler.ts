import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServiceError } from '../errors.ts'
import { asServiceError, malformedRequest } from '../errors.ts'
import type { Observer } from '../events.ts'
import type { RouteOptions } from './availability-route.ts'
import { isAvailabilityPath } from './availability-route.ts'
import { corsHeaders } from './cors.ts'
import { ClientDisconnectedError } from './client-disconnect.ts'
import { CONTENT_TYPE, errorFormat, errorHeaders, renderError } from './error-body.ts'
import { correlationFields } from './request-log.ts'

/** Any error, as the documented answer; what it tells of the inside goes to the observer alone. */
export function sendError(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { corsOrigins, isDraining }: RouteOptions,
  observer: Pick<Observer, 'requestFailed'>,
): void {
  if (thrown instanceof ClientDisconnectedError) {
    reply.hijack()
    return
  }
  const error = serviceErrorOf(thrown)
  const format = errorFormat(request.url)
  if (isAvailabilityPath(request.url)) request.format = format
  const { trackingId, station } = request
  const { code, status, reason = error.detail, cause } = error
  const asked = station === null ? {} : { station }
  observer.requestFailed({ ...correlationFields(request), ...asked, code, status, reason, cause })
  reply
    .code(status)
    .headers({
      ...corsHeaders(corsOrigins, request.headers.origin),
      ...errorHeaders(error),
      'content-type': CONTENT_TYPE[format],
      'x-content-type-options': 'nosniff',
      'tracking-id': trackingId,
      ...(isDraining() && { connection: 'close' }),
    })
    .send(renderError(error, format))
}

/** Fastify's own errors about a request blame the request; whatever else is not ours by name is our fault. */
function serviceErrorOf(thrown: unknown): ServiceError {
  const { statusCode } = thrown as { statusCode?: unknown }
  const blamesRequest = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
  return blamesRequest ? malformedRequest('The request is not valid') : asServiceError(thrown)
}
