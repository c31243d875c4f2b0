import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { malformedRequest, ServiceError } from '../errors.ts'
import type { Observer } from '../observer.ts'
import type { CorsOrigins } from './cors.ts'
import { corsHeaders } from './cors.ts'
import type { Format } from './problem.ts'
import { CONTENT_TYPE, errorFormat, problemHeaders, renderProblem } from './problem.ts'
import { trackingIdOf } from './tracking-id.ts'

/**
 * Answers to what never becomes a request with a life cycle: bytes that the parser refuses, and targets that
 * cannot be decoded. They have the documented shape and the CORS headers, like all others.
 */
export interface EarlyAnswers {
  /** For the server's `clientError`: writes to the socket and ends it. */
  readonly refuseBytes: (error: NodeJS.ErrnoException, socket: Socket) => void
  /** For a target that the router cannot decode. */
  readonly refuseTarget: (request: IncomingMessage, response: ServerResponse) => void
}

export function earlyAnswers(origins: CorsOrigins, observer: Observer): EarlyAnswers {
  const answer = (
    error: ServiceError,
    format: Format,
    origin?: string,
    trackingHeader?: string | string[],
  ) => {
    const trackingId = trackingIdOf(trackingHeader)
    const { code, status, reason = error.detail } = error
    observer.requestFailed({ trackingId, code, status, reason, cause: undefined })
    observer.requestAnswered('none', status, 'none', 0)
    const body = renderProblem(error, format)
    const headers = {
      vary: 'Accept-Encoding',
      ...corsHeaders(origins, origin),
      ...problemHeaders(error),
      'content-type': CONTENT_TYPE[format],
      'content-length': String(Buffer.byteLength(body)),
      'x-content-type-options': 'nosniff',
      'tracking-id': trackingId,
      connection: 'close',
    }
    return { headers, body }
  }

  return {
    refuseBytes(parserError, socket) {
      if (!mayWrite(parserError, socket)) {
        socket.destroy()
        return
      }
      const error = refusalOf(parserError)
      const { headers, body } = answer(error, 'json')
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
      const { status } = error
      const date = `date: ${new Date().toUTCString()}\r\n`
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${date}${lines.join('')}\r\n${body}`)
    },
    refuseTarget(request, response) {
      const error = malformedRequest('The target of the request cannot be decoded')
      const { origin, 'tracking-id': trackingHeader } = request.headers
      const { headers, body } = answer(error, errorFormat(request.url ?? ''), origin, trackingHeader)
      response.writeHead(error.status, headers).end(body)
    },
  }
}

/** Not into a connection that is gone, nor into the middle of an answer that is being written. */
function mayWrite(error: NodeJS.ErrnoException, socket: Socket): boolean {
  const { _httpMessage: current } = socket as Socket & { _httpMessage?: { headersSent: boolean } | null }
  return error.code !== 'ECONNRESET' && socket.writable && current?.headersSent !== true
}

function refusalOf(parserError: NodeJS.ErrnoException): ServiceError {
  const reason = parserError.code ?? parserError.message
  if (parserError.code === 'HPE_HEADER_OVERFLOW') return new ServiceError('HeadersTooLarge', { reason })
  if (parserError.code === 'ERR_HTTP_REQUEST_TIMEOUT') return new ServiceError('RequestTimeout', { reason })
  return malformedRequest('The request is not valid HTTP')
}
