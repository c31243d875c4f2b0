import type { Format } from '../availability/model.ts'
import { textElement } from '../availability/xml.ts'
import type { ServiceError } from '../errors.ts'
import { errorJson } from '../errors.ts'
import type { CorsOrigins } from './cors.ts'
import { corsHeaders } from './cors.ts'
import { allowedMethods, isBelowBatch } from './paths.ts'
import { pathOf } from './request-target.ts'
import { CONTENT_TYPE } from './response-headers.ts'

/** The parts of a request that its error response depends on. */
export interface FailedRequest {
  readonly target: string
  readonly trackingId: string
  readonly origin: string | undefined
}

/** An error response without its status, which is the error's. */
export function renderErrorResponse(
  error: ServiceError,
  { target, trackingId, origin }: FailedRequest,
  corsOrigins: CorsOrigins,
): { headers: Record<string, string>; body: string } {
  const format = errorFormat(target)
  const headers = {
    ...corsHeaders(corsOrigins, origin),
    ...errorHeaders(error, target),
    'content-type': CONTENT_TYPE[format],
    'x-content-type-options': 'nosniff',
    'tracking-id': trackingId,
  }
  return { headers, body: renderError(error, format) }
}

/** XML if the path ends in `.xml`, else JSON. A batch is JSON only. */
export function errorFormat(target: string): Format {
  return pathOf(target).endsWith('.xml') && !isBelowBatch(target) ? 'xml' : 'json'
}

/** The body in the shape that the endpoint's reference documents. It repeats nothing of the request. */
export function renderError(error: ServiceError, format: Format): string {
  if (format === 'json') return errorJson(error)
  const { code, message, detail } = error
  const detailed = `${sentence('code', code)}${sentence('message', detail)}`
  return `<ErrorEvResponse>${sentence('message', message)}<detailedError>${detailed}</detailedError></ErrorEvResponse>`
}

/** With plain apostrophes, as in the reference: XML does not require them to be escaped in text. */
function sentence(name: string, text: string): string {
  return textElement(name, text).replaceAll('&apos;', "'")
}

/** The headers that depend on the error. */
function errorHeaders(error: ServiceError, target: string): Record<string, string> {
  const headers: Record<string, string> = { 'cache-control': 'no-store' }
  if (error.code === 'MethodNotAllowed') headers['allow'] = allowedMethods(target)
  if (error.retryAfterMs !== undefined) headers['retry-after'] = retryAfterSeconds(error.retryAfterMs)
  return headers
}

/** Whole seconds, rounded up and never 0, which clients take as permission to retry immediately. */
function retryAfterSeconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1000)))
}
