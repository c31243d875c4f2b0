import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { malformedRequest, protocolError, ServiceError, TOO_MUCH_WAITS } from '../errors.ts'
import type { Access, Observer } from '../events.ts'
import { copyString } from '../lib/copy-string.ts'
import { discardInput, linger } from '../lib/linger.ts'
import { rawResponse } from '../lib/raw-response.ts'
import type { AddressDetail } from './client-address.ts'
import { describeAddress } from './client-address.ts'
import type { CorsOrigins } from './cors.ts'
import { renderErrorResponse } from './error-body.ts'
import { trackingIdOf } from './request-context.ts'
import { loggedPath } from './request-target.ts'

/**
 * Error responses to input that never reaches Fastify's request lifecycle: bytes that the parser rejects, CONNECT, and
 * targets that the router cannot decode. They have the documented shape and the CORS headers, like all others.
 */
export interface ProtocolErrorHandlers {
  /** For the server's `clientError`. */
  readonly onClientError: (error: ParserError, socket: Socket) => void
  /** For the server's `connect`. */
  readonly onConnect: (request: IncomingMessage, socket: Socket) => void
  /** For Fastify's `frameworkErrors`. */
  readonly onUndecodableUrl: (request: IncomingMessage, response: ServerResponse) => void
  /** For a request that would have to wait behind others of its connection, or for its body, while too much waits already. */
  readonly onOverload: (request: IncomingMessage, response: ServerResponse) => void
  /** For a connection that ends because there is no room for what it holds back. */
  readonly onOverloadEnd: () => void
}

export interface ProtocolErrorOptions {
  readonly corsOrigins: CorsOrigins
  readonly accessLog: boolean
  readonly addressDetail: AddressDetail
}

type ErrorObserver = Pick<Observer, 'requestFailed' | 'requestAnswered' | 'accessLogged' | 'overloaded'>

const UNDECODABLE_URL = malformedRequest('The target of the request cannot be decoded')

export function createProtocolErrorHandlers(
  { corsOrigins, accessLog, addressDetail }: ProtocolErrorOptions,
  observer: ErrorObserver,
): ProtocolErrorHandlers {
  const respond = (error: ServiceError, { method, target, headers, address }: RawRequest) => {
    const trackingId = trackingIdOf(headers['tracking-id'])
    const clientAddress = describeAddress(address, addressDetail)
    const correlation = { trackingId, ...(clientAddress !== null && { clientAddress }) }
    reportError(observer, error, { correlation, ...(accessLog && { logged: { method, target } }) })
    const response = renderErrorResponse(error, { target, trackingId, origin: headers.origin }, corsOrigins)
    response.headers['content-length'] = String(Buffer.byteLength(response.body))
    response.headers['connection'] = 'close'
    return response
  }
  const respondOn = (socket: Socket, error: ServiceError, request: RawRequest) => {
    if (!socket.writable) return
    const { headers, body } = respond(error, request)
    const fields = { date: new Date().toUTCString(), ...headers }
    socket.write(rawResponse(error.status, fields, request.method === 'HEAD' ? '' : body))
    linger(socket)
  }

  const respondTo = (request: IncomingMessage, response: ServerResponse, error: ServiceError) => {
    const { headers, body } = respond(error, rawRequestOf(request))
    response.writeHead(error.status, headers).end(body)
  }
  return {
    onClientError(error, socket) {
      if (error.code === 'ECONNRESET' || isSilent(error, socket)) socket.destroy()
      if (socket.destroyed || isFailed(socket)) return // Node has an error for each further packet
      const request = { ...parseRawRequest(error), address: socket.remoteAddress }
      const failure = protocolError(error)
      discardInput(socket)
      afterResponses(socket, failure, () => respondOn(socket, failure, request))
    },
    onConnect(request, socket) {
      socket.on('error', () => socket.destroy()) // Node has removed its own listener from the socket
      discardInput(socket)
      const error = new ServiceError('MethodNotAllowed')
      afterResponses(socket, null, () => respondOn(socket, error, rawRequestOf(request)))
    },
    onUndecodableUrl: (request, response) => respondTo(request, response, UNDECODABLE_URL),
    onOverload(request, response) {
      if (failReader(response, TOO_MUCH_WAITS)) return // it is counted when its reader fails
      observer.overloaded()
      respondTo(request, response, TOO_MUCH_WAITS)
    },
    onOverloadEnd: () => observer.overloaded(),
  }
}

interface Reported {
  readonly correlation: Pick<Access, 'trackingId' | 'clientAddress'>
  /** Only while the access log is on. */
  readonly logged?: Pick<RawRequest, 'method' | 'target'>
}

function reportError(observer: ErrorObserver, error: ServiceError, { correlation, logged }: Reported): void {
  const { code, status, reason = error.detail } = error
  observer.requestFailed({ ...correlation, code, status, reason, cause: undefined })
  observer.requestAnswered('none', status, 'none', 0)
  if (logged === undefined) return
  const { method, target } = logged
  observer.accessLogged({ ...correlation, method, path: loggedPath(target), status, result: 'none', ms: 0 })
}

const FAILED = Symbol('failed')
type Socketed = Socket & { readonly _httpMessage?: ServerResponse | null; [FAILED]?: true }

/** A browser opens connections in advance: it would take a 408 for the response to its next request. */
function isSilent({ code }: ParserError, { bytesRead }: Socket): boolean {
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' && bytesRead === 0
}

/** Whether the parser has rejected bytes of the connection before. */
function isFailed(socket: Socketed): boolean {
  const wasFailed = socket[FAILED] === true
  socket[FAILED] = true
  return wasFailed
}

/**
 * Waits for the responses to earlier requests of the connection, else this one would be taken for one of theirs. If it is the body of one of these requests that failed, its reader gets the failure when
 * its response is due.
 * @param failure null if no body can have failed
 */
function afterResponses(socket: Socketed, failure: ServiceError | null, action: () => void): void {
  const { _httpMessage: current } = socket
  if (current === null || current === undefined) {
    action()
    return
  }
  if (failure !== null && failBody(current, failure)) return
  current.once('finish', () => afterResponses(socket, failure, action))
}

/** @returns false if the body is complete or nobody reads it */
function failBody(response: ServerResponse, failure: ServiceError): boolean {
  return !response.req.complete && failReader(response, failure)
}

/** @returns false if nobody reads the body */
function failReader(response: ServerResponse, { message, status }: ServiceError): boolean {
  const { req: request } = response
  if (request.listenerCount('error') === 0) return false
  response.setHeader('connection', 'close')
  request.emit('error', Object.assign(new Error(message), { statusCode: status }))
  return true
}

/** A parser error, with the fields that Node adds. */
export interface ParserError extends NodeJS.ErrnoException {
  /** The bytes being parsed: usually the whole head, after earlier requests on a busy connection. */
  readonly rawPacket?: unknown
  /** The number of them that were valid. */
  readonly bytesParsed?: number | undefined
}

/** A request outside of Fastify's lifecycle. */
export interface RawRequest {
  readonly method: string
  /** Empty if unknown. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  /** Of the connection. */
  readonly address?: string | undefined
}

function rawRequestOf({ method = '', url = '', headers, socket }: IncomingMessage): RawRequest {
  return { method, target: url, headers, address: socket.remoteAddress }
}

/** The headers that an error response depends on; no others are read from an invalid request. */
const PARSED_HEADERS = ['origin', 'tracking-id'] as const
const END_OF_HEAD = '\r\n\r\n'
/** The fault is before the target: everything before it is of earlier requests. */
const IN_METHOD = new Set<string | undefined>(['HPE_INVALID_METHOD', 'HPE_CLOSED_CONNECTION'])
/** The server's limit for a head; what lies beyond is not read. */
const MAX_HEAD_LENGTH = 16_384

/**
 * Method, target and headers of a request that the parser rejected, so that its error response has the right format and
 * headers. None of it can be trusted: the bytes are not valid HTTP.
 */
export function parseRawRequest({ rawPacket, bytesParsed = 0, code }: ParserError): RawRequest {
  const text = Buffer.isBuffer(rawPacket) ? rawPacket.toString('latin1') : ''
  // Before the fault, the last end of a head is the previous request's; the fault may be in this head's own end.
  const searchFrom = bytesParsed - END_OF_HEAD.length - (IN_METHOD.has(code) ? 0 : 1)
  const previousEnd = searchFrom >= 0 ? text.lastIndexOf(END_OF_HEAD, searchFrom) : -1
  const start = previousEnd === -1 ? 0 : previousEnd + END_OF_HEAD.length
  const [head = ''] = text.slice(start, start + MAX_HEAD_LENGTH).split(END_OF_HEAD, 1)
  const [, method = '', target = ''] = /^([A-Z]{1,32}) (\S+)/.exec(head) ?? []
  const headers = PARSED_HEADERS.flatMap((name) => {
    const value = headerValue(head, name)
    return value === null ? [] : [[name, copyString(value)] as const]
  })
  // Copied, as they may wait behind other responses, and would keep the packet.
  return { method: copyString(method), target: copyString(target), headers: Object.fromEntries(headers) }
}

/** The value of a header, null without one. Native searches only: a pattern with blanks around the value is quadratic. */
function headerValue(head: string, name: string): string | null {
  const field = `\n${name}:`
  const at = head.toLowerCase().indexOf(field)
  if (at === -1) return null
  const end = head.indexOf('\n', at + 1)
  return head.slice(at + field.length, end === -1 ? undefined : end).trim()
}
