import type { IncomingMessage, ServerResponse } from 'node:http'
import { malformedRequest } from '../errors.ts'

/**
 * Checks that apply to every request. No request body is ever read: the connection of a request that has one is closed
 * after its response, so that the body cannot be parsed as another request.
 * @throws ServiceError InvalidParameter
 */
export function validateRequest(request: IncomingMessage, response: ServerResponse): void {
  const withBody = hasBody(request)
  if (withBody) response.shouldKeepAlive = false
  const hosts = countHeader(request.rawHeaders, 'host')
  if (hosts > 1 || (hosts === 0 && request.httpVersion !== '1.0')) {
    throw malformedRequest('Exactly one Host header is required') // RFC 9112, 3.2; Node accepts two
  }
  if (withBody && request.method === 'GET') throw malformedRequest('A GET request must not have a body')
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

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
