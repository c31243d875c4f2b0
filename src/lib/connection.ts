import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ByteBudget, Reservation } from './byte-budget.ts'
import { discardInput, dropRequests, isStoppedByNode } from './linger.ts'
import { onResponseEnd } from './on-response-end.ts'
import type { UnreadTime } from './unread-time.ts'

export interface ConnectionsDeps {
  /** Requests that wait behind another of their connection, and bodies that are received, take from it; null: no bound. */
  readonly waiting: ByteBudget | null
  /** Responds to a request for which the budget has no room. */
  readonly onOverload: (request: IncomingMessage, response: ServerResponse) => void
  /** A connection ends because there is no room for what its responses hold back. */
  readonly onOverloadEnd: () => void
}

/** What is known of one connection. */
export interface Connection {
  readonly socket: Socket
  readonly deps: ConnectionsDeps
  /** Responses that are due, in the order of their requests. An array: a set rehashes with every few responses. */
  readonly due: ServerResponse[]
  /** The response to the newest request. */
  last: ServerResponse | null
  /** The client of the newest request may send another one behind it. */
  mayContinue: boolean
  readonly unread: UnreadTime
  readonly acceptedAt: number
  /** Of its requests; one with more headers has one more. */
  readonly maxHeaders: number
  requestedAt: number
  /** `bytesRead` of the socket when its last response had been sent; 0 before the first request. */
  bytesWhenIdle: number
  /** `bytesRead` of the socket when the newest packet had come, and the requests that it has had so far. */
  packetEnd: number
  requestsOfPacket: number
  /** No further request is handled. */
  isStopped: boolean
  /** What is reserved for requests that wait behind another, and for their responses. */
  waitingBytes: number
}

/** A member, as a weak map is searched with every use. Of responses too: a pipeline that fails takes a request's socket. */
const CONNECTION = Symbol('connection')
type Connected = (Socket | ServerResponse) & { [CONNECTION]?: Connection }
export const connectionOf = (owner: Connected) => owner[CONNECTION]

/** From now on it is the connection of a socket or of a response. */
export function assignConnection(owner: Connected, connection: Connection): void {
  owner[CONNECTION] = connection
}

/**
 * What may wait behind a response that is held open, about a dozen requests: it may wait for ever, and one client may have
 * 20 of these. With more the connection ends.
 */
export const MAX_BYTES_BEHIND_OPEN = 131_072

/** Responses without an end of their own. */
const heldOpen = new WeakSet<ServerResponse>()
export const isHeldOpen = (response: ServerResponse) => heldOpen.has(response)

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
  else if (connection !== undefined) {
    readOn(connection)
    endIfMuchWaits(connection)
  }
}

/**
 * What the kernel has not taken yet of a long response that is being sent counts among what waits, until its client has
 * read so much; without room the connection ends. To be called when the response has ended.
 */
export function countUnsent(response: ServerResponse): void {
  const connection = connectionOf(response)
  const isSending = response.socket !== null && !response.writableFinished
  if (!connection?.deps.waiting || !isSending || response.writableLength === 0) return
  const reservation = connection.deps.waiting.reserve(response.writableLength)
  if (reservation === null) endForOverload(connection)
  else response.once('close', () => reservation.end())
}

const SHARED = Symbol('shared')
type Sharing = ServerResponse & { [SHARED]?: number }

/** So many bytes of the response's body are also kept elsewhere: while it waits for its turn they take no memory. */
export function shareBody(response: Sharing, bytes: number): void {
  response[SHARED] = bytes
}

/** What a response that ends before its turn holds back counts as well; without room the connection ends. */
export function holdUntilClosed(reservation: Reservation, connection: Connection, response: Sharing): void {
  let bytes = 0
  const note = () => {
    connection.waitingBytes += reservation.bytes - bytes
    bytes = reservation.bytes
    endIfMuchWaits(connection)
  }
  note()
  response.once('close', () => {
    connection.waitingBytes -= bytes
    reservation.end()
  })
  onResponseEnd(response, () => {
    const { [SHARED]: shared = 0, writableLength } = response
    const more = response.socket === null ? writableLength - shared - reservation.bytes : 0
    if (more <= 0 || connection.socket.destroyed) return
    if (reservation.tryGrow(more)) note()
    else endForOverload(connection)
  })
}

function endIfMuchWaits(connection: Connection): void {
  if (connection.waitingBytes > MAX_BYTES_BEHIND_OPEN && connection.due.some(isHeldOpen))
    endForOverload(connection)
}

function endForOverload({ socket, deps }: Connection): void {
  if (socket.destroyed) return
  socket.destroy()
  deps.onOverloadEnd()
}

/** A client that has asked for the end of its connection sends nothing more. */
export function mayBeSending({ isStopped, last, mayContinue }: Connection): boolean {
  return isStopped || (last !== null && (mayContinue || !last.req.complete))
}

export function countInPacket({ bytesRead }: Socket, connection: Connection): void {
  connection.requestsOfPacket = bytesRead === connection.packetEnd ? connection.requestsOfPacket + 1 : 1
  connection.packetEnd = bytesRead
}

/** The response becomes the last of its connection: requests behind it are dropped, or not even parsed. */
export function stop(socket: Socket, connection: Connection, response: ServerResponse): void {
  if (connection.isStopped) return
  connection.isStopped = true
  response.shouldKeepAlive = false
  dropRequests(socket)
}

/** Node may stop reading behind a response that is held open, and miss that the client leaves: input is discarded instead. */
export function readOn(connection: Connection): void {
  const { socket, due, last } = connection
  if (last === null || !isStoppedByNode(socket) || !due.some(isHeldOpen)) return
  stop(socket, connection, last)
  discardInput(socket)
}

/** A client or load balancer has sent nothing on it yet. */
export const isUnused = ({ bytesRead }: Socket) => bytesRead === 0
