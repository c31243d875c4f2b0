import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ByteBudget, Reservation } from './byte-budget.ts'
import { discardInput, dropRequests, isStoppedByNode, lingerOnClose } from './linger.ts'
import { onResponseEnd } from './on-response-end.ts'
import { ReadTurns } from './read-turns.ts'
import { bodyBytes, boundBody } from './request-body.ts'
import { UnreadTime } from './unread.ts'

/**
 * Requests of one connection that may be in progress, and that may come in one packet. Node parses all requests of a
 * packet at once, up to 2,000; those with a body are answered one by one meanwhile, and nothing else is done.
 */
export const MAX_REQUESTS_PER_CONNECTION = 100
/** The same for requests with a body: a batch is up to 100 lookups, and no usual client sends one before the other's response. */
export const MAX_POSTS_PER_CONNECTION = 5
/** Heap of a request that waits behind another of its connection, with its response and the framework's objects. */
export const PIPELINED_REQUEST_BYTES = 10_000
/**
 * A client that closes its side so soon after its request has only ended its input (`shutdown`) and reads the response.
 * Later it has left. Both arrive as the same packet.
 */
export const HALF_CLOSE_MS = 100

interface Connection {
  readonly socket: Socket
  readonly waiting: ByteBudget | null
  /** Responses that are due, in the order of their requests. An array: a set rehashes with every few responses. */
  readonly due: ServerResponse[]
  /** The response to the newest request. */
  last: ServerResponse | null
  /** The client of the newest request may send another one behind it. */
  mayContinue: boolean
  readonly unread: UnreadTime
  readonly acceptedAt: number
  requestedAt: number
  /** `bytesRead` of the socket when its last response had been sent; 0 before the first request. */
  bytesWhenIdle: number
  /** `bytesRead` of the socket when the newest packet had come, and the requests that it has had so far. */
  packetEnd: number
  requestsOfPacket: number
  /** No further request is handled. */
  isStopped: boolean
}

export interface ConnectionsDeps {
  /** Requests that wait behind another of their connection, and bodies that are received, take from it; null: no bound. */
  readonly waiting: ByteBudget | null
  /** Responds to a request for which the budget has no room. */
  readonly onOverload: (request: IncomingMessage, response: ServerResponse) => void
  /** A connection ends because there is no room for what its responses hold back. */
  readonly onOverloadEnd: () => void
}

/** A member, as a weak map is searched with every use. Of responses too: a pipeline that fails takes a request's socket. */
const CONNECTION = Symbol('connection')
type Connected = (Socket | ServerResponse) & { [CONNECTION]?: Connection }
const connectionOf = (owner: Connected) => owner[CONNECTION]
/** Responses without an end of their own. */
const heldOpen = new WeakSet<ServerResponse>()

/** Whether no later request of its connection is known: only its last response may close a connection. */
export function isLastResponse(response: ServerResponse): boolean {
  const connection = connectionOf(response)
  return connection === undefined || connection.last === response
}

/** Whether the connection may be used again after the response, as far as its bounds are concerned. */
export function mayKeepAlive(response: ServerResponse): boolean {
  const connection = connectionOf(response)
  return connection === undefined || !connection.isStopped || connection.last !== response
}

/** Whether the client has left already: `close` does not come again. */
export const hasLeft = (response: ServerResponse) => connectionOf(response)?.socket.destroyed === true

/** For a response without an end: from now on a client that ends its input has left, also soon after its request. */
export function closeOnEndOfInput(response: ServerResponse): void {
  const { socket } = response.req
  const connection = connectionOf(response)
  heldOpen.add(response)
  if (socket.readableEnded) socket.destroy()
  else if (connection !== undefined) readOn(connection)
}

/**
 * What the kernel has not taken yet of a long response that is being sent counts among what waits, until its client has
 * read so much; without room the connection ends. To be called when the response has ended.
 */
export function countUnsent(response: ServerResponse): void {
  const connection = connectionOf(response)
  const isSending = response.socket !== null && !response.writableFinished
  if (!connection?.waiting || !isSending || response.writableLength === 0) return
  const reservation = connection.waiting.reserve(response.writableLength)
  if (reservation === null) connection.socket.destroy()
  else response.once('close', () => reservation.end())
}

/** The open connections of a server, and the bounds of each. */
export class Connections {
  readonly #open = new Map<Socket, Connection>()
  readonly #reading = new ReadTurns(() => this.#open.keys())
  readonly #deps: ConnectionsDeps
  /** One listener for all responses, as a method of the response. */
  readonly #onResponseClose: (this: ServerResponse) => void
  #isDraining = false

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps
    const closed = (response: ServerResponse) => this.#responseClosed(response)
    this.#onResponseClose = function () {
      closed(this)
    }
  }

  /** Whether every connection has been silent so far. */
  get allUnused(): boolean {
    return [...this.#open.keys()].every(isUnused)
  }

  /** From now on all requests of a packet are known before the first is handled, so that only the last one closes. */
  drain(): void {
    this.#isDraining = true
  }

  readonly onConnection = (socket: Socket): void => {
    const connection: Connection = {
      socket,
      waiting: this.#deps.waiting,
      due: [],
      last: null,
      mayContinue: false,
      unread: new UnreadTime(),
      acceptedAt: performance.now(),
      requestedAt: 0,
      bytesWhenIdle: 0,
      packetEnd: 0,
      requestsOfPacket: 0,
      isStopped: false,
    }
    this.#open.set(socket, connection)
    lingerOnClose(socket, () => mayBeSending(connection))
    Object.assign(socket, { [CONNECTION]: connection })
    socket.on('error', () => {}) // Node removes its own at an upgrade, and an error without a listener ends the process
    socket.once('close', () => this.#onClose(socket, connection))
    socket.once('end', () => {
      const { due, requestedAt } = connection
      const isLate = performance.now() - requestedAt > HALF_CLOSE_MS
      if (due.length > 0 && (isLate || due.some((response) => heldOpen.has(response)))) socket.destroy()
    })
  }

  /** The listener of `request`, with the bounds in front of the handler. */
  limit(handler: RequestListener): RequestListener {
    return (request, response) => {
      const connection = connectionOf(request.socket)
      if (connection === undefined || this.#admit(connection, request, response)) {
        if (this.#isDraining) setImmediate(handler, request, response)
        else handler(request, response)
      }
    }
  }

  /**
   * Closes connections on which nothing is due: the last byte of the last response has left, and nothing of another
   * request has come. A silent connection may have its request still in the kernel, so it gets `unusedMs` of time.
   */
  closeIdle(unusedMs: number): void {
    const now = performance.now()
    for (const [socket, { due, acceptedAt, bytesWhenIdle }] of this.#open) {
      if (socket.writableEnded) continue // its client may still read, for two seconds
      if (due.length > 0 || socket.writableLength > 0 || socket.bytesRead > bytesWhenIdle) continue
      if (this.#reading.isStopped(socket)) continue
      if (!isUnused(socket) || now - acceptedAt >= unusedMs) socket.destroy()
    }
  }

  /** Ends connections whose client has not read for `ms` what is sent to it. Only what earlier calls have seen is known. */
  endUnread(ms: number): void {
    const now = performance.now()
    for (const [socket, { unread }] of this.#open) if (unread.of(socket, now) >= ms) socket.destroy()
  }

  /** Those too that are no longer the parser's. */
  destroyAll(): void {
    for (const socket of this.#open.keys()) socket.destroy()
  }

  #admit(connection: Connection, request: IncomingMessage, response: ServerResponse): boolean {
    const { due } = connection
    ;(response as Connected)[CONNECTION] = connection
    connection.requestedAt = performance.now()
    this.#reading.note(connection.requestedAt)
    connection.last = response
    connection.mayContinue = response.shouldKeepAlive
    due.push(response)
    response.on('close', this.#onResponseClose)
    const bodySize = bodyBytes(request)
    if (bodySize > 0) boundBody(request, response, this.#reading)
    countInPacket(request.socket, connection)
    const most = request.method === 'POST' ? MAX_POSTS_PER_CONNECTION : MAX_REQUESTS_PER_CONNECTION
    if (connection.requestsOfPacket >= most || due.length >= most) stop(request.socket, connection, response)
    if (due.length > 1) readOn(connection)
    const bytes = bodySize + (due.length > 1 ? PIPELINED_REQUEST_BYTES : 0)
    if (bytes === 0) return true
    if (this.#deps.waiting === null) return true
    const reservation = this.#deps.waiting.reserve(bytes)
    if (reservation !== null) {
      this.#untilClosed(reservation, connection, response)
      return true
    }
    stop(request.socket, connection, response)
    this.#deps.onOverload(request, response)
    return false
  }

  /** What a response that ends before its turn holds back counts as well; without room the connection ends. */
  #untilClosed(reservation: Reservation, { socket }: Connection, response: ServerResponse): void {
    response.once('close', () => reservation.end())
    onResponseEnd(response, () => {
      const more = response.socket === null ? response.writableLength - reservation.bytes : 0
      if (more <= 0 || socket.destroyed || reservation.tryGrow(more)) return
      socket.destroy()
      this.#deps.onOverloadEnd()
    })
  }

  #responseClosed(response: ServerResponse): void {
    const connection = connectionOf(response)
    const at = connection?.due.indexOf(response) ?? -1
    if (connection === undefined || at === -1) return // closed before
    connection.due.splice(at, 1)
    if (connection.due.length > 0) return
    const { socket } = connection
    if (connection.isStopped && !socket.writableEnded) socket.destroySoon() // the last may have ended before
    connection.bytesWhenIdle = socket.bytesRead
    connection.last = null
  }

  /** Node closes the response that is being sent; those behind it would never know that their client has gone. */
  #onClose(socket: Socket, connection: Connection): void {
    this.#open.delete(socket)
    const behind = connection.due.filter((response) => response.socket === null)
    for (const response of behind) response.emit('close')
  }
}

/** A client that has asked for the end of its connection sends nothing more. */
function mayBeSending({ isStopped, last, mayContinue }: Connection): boolean {
  return isStopped || (last !== null && (mayContinue || !last.req.complete))
}

function countInPacket({ bytesRead }: Socket, connection: Connection): void {
  connection.requestsOfPacket = bytesRead === connection.packetEnd ? connection.requestsOfPacket + 1 : 1
  connection.packetEnd = bytesRead
}

/** The response becomes the last of its connection: requests behind it are dropped, or not even parsed. */
function stop(socket: Socket, connection: Connection, response: ServerResponse): void {
  if (connection.isStopped) return
  connection.isStopped = true
  response.shouldKeepAlive = false
  dropRequests(socket)
}

/** Node may stop reading behind a response that is held open, and miss that the client leaves: input is discarded instead. */
function readOn(connection: Connection): void {
  const { socket, due, last } = connection
  if (last === null || !isStoppedByNode(socket) || !due.some((response) => heldOpen.has(response))) return
  stop(socket, connection, last)
  discardInput(socket)
}

/** A client or load balancer has sent nothing on it yet. */
const isUnused = ({ bytesRead }: Socket) => bytesRead === 0
