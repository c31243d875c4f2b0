import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Reservation } from './byte-budget.ts'
import type { Connection, ConnectionsDeps } from './connection.ts'
import { assignConnection, connectionOf, countInPacket, isUnused, mayBeSending, stop } from './connection.ts'
import {
  endIfMuchBehindOpen,
  holdUntilClosed,
  isHeldOpen,
  isUnreadTooLong,
  readOn,
} from './held-responses.ts'
import { lingerOnClose } from './linger.ts'
import { makeRoom } from './make-room.ts'
import { ReadTurns } from './read-turns.ts'
import { boundBody, hasBody, whenRead } from './request-body.ts'
import { UnreadTime } from './unread-time.ts'

/**
 * Requests of one connection that may be in progress, and that may come in one packet. Node parses all requests of a
 * packet at once, up to 2,000; those with a body are answered one by one meanwhile, and nothing else is done.
 */
export const MAX_REQUESTS_PER_CONNECTION = 100
/** The same for requests with a body: a batch is up to 100 lookups, and no usual client sends one before the other's response. */
export const MAX_POSTS_PER_CONNECTION = 5
/**
 * Heap of a request that waits behind another of its connection, or for its body, with its response and the framework's
 * objects.
 */
export const WAITING_REQUEST_BYTES = 10_000
/**
 * A client that closes its side so soon after its request has only ended its input (`shutdown`) and reads the response.
 * Later it has left. Both arrive as the same packet.
 */
export const HALF_CLOSE_MS = 100
/** So long after a search for connections to end there is no other: under a flood of misses each would look at all. */
const NO_ROOM_MS = 100

/** The open connections of a server, and the bounds of each. */
export class Connections {
  readonly #open = new Map<Socket, Connection>()
  readonly #reading = new ReadTurns(() => this.#open.keys())
  readonly #deps: ConnectionsDeps
  /** One listener for all responses, as a method of the response. */
  readonly #onResponseClose: (this: ServerResponse) => void
  #isDraining = false
  #nextRoomAt = 0

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps
    if (deps.waiting !== null) deps.waiting.makeRoom = (missing) => this.#makeRoom(missing)
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

  onConnection(socket: Socket, maxHeaders: number): void {
    const connection: Connection = {
      socket,
      deps: this.#deps,
      due: [],
      last: null,
      mayContinue: false,
      unread: new UnreadTime(),
      acceptedAt: performance.now(),
      maxHeaders,
      requestedAt: 0,
      bytesWhenIdle: 0,
      packetEnd: 0,
      requestsOfPacket: 0,
      isStopped: false,
      hasHeldOpen: false,
    }
    this.#open.set(socket, connection)
    lingerOnClose(socket, () => mayBeSending(connection))
    assignConnection(socket, connection)
    socket.on('error', () => {}) // Node removes its own at an upgrade, and an error without a listener ends the process
    socket.once('close', () => this.#onClose(socket, connection))
    socket.once('end', () => {
      const { due, requestedAt } = connection
      const isLate = performance.now() - requestedAt > HALF_CLOSE_MS
      if (due.length > 0 && (isLate || due.some(isHeldOpen))) socket.destroy()
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
      if (this.#reading.isWaiting(socket)) continue
      if (!isUnused(socket) || now - acceptedAt >= unusedMs) socket.destroy()
    }
  }

  /** Ends connections whose client is `ms` behind in reading what is sent to it. Only what earlier calls have seen is known. */
  endUnread(ms: number): void {
    const now = performance.now()
    for (const [socket, connection] of this.#open) if (isUnreadTooLong(connection, now, ms)) socket.destroy()
  }

  /** Those too that are no longer the parser's. */
  destroyAll(): void {
    for (const socket of this.#open.keys()) socket.destroy()
  }

  #makeRoom(missing: number): boolean {
    const now = performance.now()
    if (now < this.#nextRoomAt) return false
    const hasMade = makeRoom(this.#open.values(), missing)
    if (!hasMade) this.#nextRoomAt = now + NO_ROOM_MS
    return hasMade
  }

  #admit(connection: Connection, request: IncomingMessage, response: ServerResponse): boolean {
    const { due } = connection
    assignConnection(response, connection)
    connection.requestedAt = performance.now()
    this.#reading.parsing(connection.requestedAt)
    connection.last = response
    connection.mayContinue = response.shouldKeepAlive
    due.push(response)
    response.on('close', this.#onResponseClose)
    const isReceiving = hasBody(request)
    countInPacket(request.socket, connection)
    const most = request.method === 'POST' ? MAX_POSTS_PER_CONNECTION : MAX_REQUESTS_PER_CONNECTION
    if (connection.requestsOfPacket >= most || due.length >= most) stop(request.socket, connection, response)
    if (due.length > 1) readOn(connection)
    if (!isReceiving && due.length === 1) return true
    const { waiting } = this.#deps
    const reservation = waiting === null ? null : waiting.reserve(WAITING_REQUEST_BYTES)
    if (isReceiving) this.#boundBody(connection, request, response, reservation)
    if (waiting === null) return true
    if (reservation !== null) {
      holdUntilClosed(reservation, connection, response)
      return true
    }
    stop(request.socket, connection, response)
    this.#deps.onOverload(request, response)
    return false
  }

  #boundBody(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    reservation: Reservation | null,
  ): void {
    const fail = () => {
      if (response.headersSent) return
      stop(request.socket, connection, response)
      this.#deps.onOverload(request, response)
    }
    boundBody(request, response, {
      reading: this.#reading,
      tryTake: (bytes) => {
        if (reservation?.tryGrow(bytes) === false) return false
        endIfMuchBehindOpen(connection)
        return true
      },
      onOverload: () => whenRead(request, fail),
    })
  }

  #responseClosed(response: ServerResponse): void {
    const connection = connectionOf(response)
    const at = connection?.due.indexOf(response) ?? -1
    if (connection === undefined || at === -1) return // closed before
    connection.due.splice(at, 1)
    endIfMuchBehindOpen(connection)
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
