import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { malformedRequest, ServiceError } from '../errors.ts'
import type { Observer } from '../events.ts'
import type { CorsOrigins } from './cors.ts'
import { corsHeaders } from './cors.ts'
import { CONTENT_TYPE, errorFormat, errorHeaders, renderError } from './error-body.ts'
import type { RawRequest, ParserError } from './raw-request.ts'
import { parseRawRequest } from './raw-request.ts'
import { loggedPath } from './request-target.ts'
import { trackingIdOf } from './tracking-id.ts'

/**
 * Answers to what never becomes a request with a life cycle: bytes that the parser refuses, a tunnel, a target that
 * cannot be decoded. They have the documented shape and the CORS headers, like all others.
 */
export interface ProtocolErrorHandlers {
  /** For the server's `clientError`. */
  readonly onClientError: (error: ParserError, socket: Socket) => void
  /** For the server's `connect`. */
  readonly onConnect: (request: IncomingMessage, socket: Socket) => void
  /** For a target that the router cannot decode. */
  readonly onUndecodableUrl: (request: IncomingMessage, response: ServerResponse) => void
}

export interface ProtocolErrorOptions {
  readonly corsOrigins: CorsOrigins
  readonly accessLog: boolean
}

type Socketed = Socket & { readonly _httpMessage?: ServerResponse | null }

export function createProtocolErrorHandlers(
  { corsOrigins, accessLog }: ProtocolErrorOptions,
  observer: Pick<Observer, 'requestFailed' | 'requestAnswered' | 'accessLogged'>,
): ProtocolErrorHandlers {
  /** The answer to an error, of which the observer is told. */
  const answer = (error: ServiceError, { method, target, headers }: RawRequest) => {
    const trackingId = trackingIdOf(headers['tracking-id'])
    const format = errorFormat(target)
    const { code, status, reason = error.detail } = error
    observer.requestFailed({ trackingId, code, status, reason, cause: undefined })
    observer.requestAnswered('none', status, 'none', 0)
    if (accessLog) {
      observer.accessLogged({ trackingId, method, path: loggedPath(target), status, result: 'none', ms: 0 })
    }
    const body = renderError(error, format)
    const fields = {
      ...corsHeaders(corsOrigins, headers.origin),
      ...errorHeaders(error),
      'content-type': CONTENT_TYPE[format],
      'content-length': String(Buffer.byteLength(body)),
      'x-content-type-options': 'nosniff',
      'tracking-id': trackingId,
      connection: 'close',
    }
    return { fields, body }
  }

  const writeTo = (socket: Socket, error: ServiceError, head: RawRequest) => {
    if (!socket.writable) return
    const { fields, body } = answer(error, head)
    const lines = Object.entries({ date: new Date().toUTCString(), ...fields }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    )
    socket.end(`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}\r\n${lines.join('')}\r\n${body}`)
  }

  return {
    onClientError(parserError, socket) {
      if (parserError.code === 'ECONNRESET') socket.destroy()
      else afterAnswers(socket, () => writeTo(socket, refusalOf(parserError), parseRawRequest(parserError)))
    },
    onConnect(request, socket) {
      socket.on('error', () => socket.destroy()) // Node has let go of it: nobody else would hear
      writeTo(socket, new ServiceError('MethodNotAllowed'), headOf(request))
    },
    onUndecodableUrl(request, response) {
      const error = malformedRequest('The target of the request cannot be decoded')
      const { fields, body } = answer(error, headOf(request))
      response.writeHead(error.status, fields).end(body)
    },
  }
}

function headOf({ method = '', url = '', headers }: IncomingMessage): RawRequest {
  return { method, target: url, headers }
}

/** Requests that came before on the same connection have their answers first, or theirs would be taken for this. */
function afterAnswers(socket: Socketed, action: () => void): void {
  const { _httpMessage: current } = socket
  if (current === null || current === undefined) action()
  else current.once('finish', () => afterAnswers(socket, action))
}

function refusalOf(parserError: ParserError): ServiceError {
  const reason = parserError.code ?? parserError.message
  if (parserError.code === 'HPE_HEADER_OVERFLOW') return new ServiceError('HeadersTooLarge', { reason })
  if (parserError.code === 'ERR_HTTP_REQUEST_TIMEOUT') return new ServiceError('RequestTimeout', { reason })
  return malformedRequest('The request is not valid HTTP')
}
