import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ByteBudget, Reservation } from './byte-budget.ts'
import { dropRequests } from './linger.ts'
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
  /** One of its responses is held open, or was. */
  hasHeldOpen: boolean
  /** What waits behind that; from the first on. */
  behindOpen?: Reservation
  /** What is not sent yet of a long response, the last that was counted. */
  unsent?: Reservation
}

/** A member, as a weak map is searched with every use. Of responses too: a pipeline that fails takes a request's socket. */
const CONNECTION = Symbol('connection')
type Connected = (Socket | ServerResponse) & { [CONNECTION]?: Connection }
export const connectionOf = (owner: Connected) => owner[CONNECTION]

/** From now on it is the connection of a socket or of a response. */
export function assignConnection(owner: Connected, connection: Connection): void {
  owner[CONNECTION] = connection
}

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

/**
 * What the kernel has not taken yet of a long response that is being sent counts among what waits, until its client has
 * read so much; without room, even by ending others, the connection ends. To be called when the response has ended.
 */
export function countUnsent(response: ServerResponse): void {
  const connection = connectionOf(response)
  const isSending = response.socket !== null && !response.writableFinished
  if (!connection?.deps.waiting || !isSending || response.writableLength === 0) return
  const reservation = connection.deps.waiting.reserve(response.writableLength)
  if (reservation === null) endForOverload(connection)
  else {
    connection.unsent = reservation
    response.once('close', () => reservation.end())
  }
}

/** Ends a connection for which there is no room. */
export function endForOverload({ socket, deps }: Connection): void {
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

/** A client or load balancer has sent nothing on it yet. */
export const isUnused = ({ bytesRead }: Socket) => bytesRead === 0
