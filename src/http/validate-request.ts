import type { IncomingMessage, ServerResponse } from 'node:http'
import { malformedRequest, ServiceError } from '../errors.ts'
import { connectionOf } from '../lib/connection.ts'
import { MAX_HEADERS, MIN_MAX_HEADERS } from '../lib/head-limits.ts'
import { hasBody } from '../lib/request-body.ts'

/**
 * Checks that apply to every request. Only the batch route reads a body. The connection of any other request with a body
 * is closed after its response, so that the body cannot be parsed as another request. So is that of a request with an
 * `Upgrade`, because the parser takes what follows it for another protocol.
 * @throws ServiceError InvalidParameter, HeadersTooLarge
 */
export function validateRequest(request: IncomingMessage, response: ServerResponse): void {
  const withBody = hasBody(request)
  const isCut = hasTooManyHeaders(request) // it may have a body
  if (withBody || isCut || request.headers.upgrade !== undefined) response.shouldKeepAlive = false
  const error = errorOf(request)
  if (error !== null) throw error
  if (withBody && request.method === 'GET') throw malformedRequest('A GET request must not have a body')
}

/** Whether it is a GET that passes `validateRequest` and leaves its connection open. */
export function isValidGet(request: IncomingMessage): boolean {
  const { method, headers } = request
  return method === 'GET' && headers.upgrade === undefined && !hasBody(request) && errorOf(request) === null
}

function errorOf(request: IncomingMessage): ServiceError | null {
  const { rawHeaders, httpVersion } = request
  if (hasTooManyHeaders(request)) return new ServiceError('HeadersTooLarge', { reason: 'too many headers' })
  if (httpVersion !== '1.1' && httpVersion !== '1.0')
    return malformedRequest('The version of HTTP must be 1.0 or 1.1')
  const hosts = countHeader(rawHeaders, 'host')
  if (hosts > 1 || (hosts === 0 && httpVersion !== '1.0')) {
    return malformedRequest('Exactly one Host header is required') // RFC 9112, 3.2; Node accepts two
  }
  return null
}

function hasTooManyHeaders({ rawHeaders, socket }: IncomingMessage): boolean {
  if (rawHeaders.length <= 2 * MIN_MAX_HEADERS) return false
  return rawHeaders.length > 2 * (connectionOf(socket)?.maxHeaders ?? MAX_HEADERS)
}

/** rawHeaders is a flat list: names at even indexes, values at odd ones. */
function countHeader(rawHeaders: readonly string[], name: string): number {
  let found = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const header = rawHeaders[i] as string
    if (header.length === name.length && header.toLowerCase() === name) found++
  }
  return found
}
