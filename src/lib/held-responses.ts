import type { ServerResponse } from 'node:http'
import type { Reservation } from './byte-budget.ts'
import { ByteBudget } from './byte-budget.ts'
import type { Connection } from './connection.ts'
import { connectionOf, endForOverload, stop } from './connection.ts'
import { discardInput, isStoppedByNode } from './linger.ts'
import { onResponseEnd } from './on-response-end.ts'

/**
 * What may wait behind a response that is held open, about a dozen requests: they may wait for ever, and one client may have
 * 20 such responses. With more the connection ends.
 */
export const MAX_BYTES_BEHIND_OPEN = 131_072

/** For so long a client with more than that behind a response may read nothing of it. Less than the time between two checks. */
export const UNREAD_WITH_MUCH_BEHIND_MS = 4_000

/** Of the budget, for what waits behind responses that are held open, on all connections together. */
export const BEHIND_OPEN_SHARE = 0.25
const partBehindOpen = new WeakMap<ByteBudget, ByteBudget>()

const RESERVED = Symbol('reserved')
const SHARED = Symbol('shared')
type Held = ServerResponse & { [RESERVED]?: Reservation; [SHARED]?: number }

/** Responses without an end of their own. */
const heldOpen = new WeakSet<ServerResponse>()
export const isHeldOpen = (response: ServerResponse) => heldOpen.has(response)

/** For a response without an end: from now on a client that ends its input has left, also soon after its request. */
export function closeOnEndOfInput(response: ServerResponse): void {
  const { socket } = response.req
  const connection = connectionOf(response)
  heldOpen.add(response)
  if (socket.readableEnded) socket.destroy()
  else if (connection !== undefined) {
    connection.hasHeldOpen = true
    readOn(connection)
    endIfMuchBehindOpen(connection)
  }
}

/** Node may stop reading behind a response that is held open, and miss that the client leaves: input is discarded instead. */
export function readOn(connection: Connection): void {
  const { socket, due, last } = connection
  if (last === null || !isStoppedByNode(socket) || !due.some(isHeldOpen)) return
  stop(socket, connection, last)
  discardInput(socket)
}

/** So many bytes of the response's body are also kept elsewhere: while it waits for its turn they take no memory. */
export function shareBody(response: Held, bytes: number): void {
  response[SHARED] = bytes
}

/** What a response that ends before its turn holds back counts as well; without room the connection ends. */
export function holdUntilClosed(reservation: Reservation, connection: Connection, response: Held): void {
  response[RESERVED] = reservation
  response.once('close', () => reservation.end())
  onResponseEnd(response, () => {
    const { [SHARED]: shared = 0, writableLength } = response
    const more = response.socket === null ? writableLength - shared - reservation.bytes : 0
    if (more <= 0 || connection.socket.destroyed) return
    if (reservation.tryGrow(more)) endIfMuchBehindOpen(connection)
    else endForOverload(connection)
  })
  endIfMuchBehindOpen(connection)
}

/** To be called whenever a reservation of the connection has changed. */
export function endIfMuchBehindOpen(connection: Connection): void {
  const { hasHeldOpen, due, socket } = connection
  if (!hasHeldOpen || socket.destroyed) return
  const open = due.findIndex(isHeldOpen)
  const bytes = open === -1 ? 0 : bytesAfter(due, open)
  const reservation = behindOpenOf(connection)
  if (bytes > MAX_BYTES_BEHIND_OPEN) socket.destroy()
  else if (reservation?.tryGrow(bytes - reservation.bytes) === false) endForOverload(connection)
}

/** What the connection has of the part of the budget; null without a budget. */
function behindOpenOf(connection: Connection): Reservation | null {
  const { socket, deps } = connection
  if (deps.waiting === null || connection.behindOpen !== undefined) return connection.behindOpen ?? null
  const part = partBehindOpen.get(deps.waiting) ?? new ByteBudget(deps.waiting.limit * BEHIND_OPEN_SHARE)
  partBehindOpen.set(deps.waiting, part)
  const reservation = part.reserve(0) as Reservation
  socket.once('close', () => reservation.end())
  return (connection.behindOpen = reservation)
}

/**
 * Whether the connection has to end because its client does not read: at all, or with as much behind its response as may
 * wait behind one that is held open.
 */
export function isUnreadTooLong({ unread, due, socket }: Connection, now: number, ms: number): boolean {
  const behindMs = unread.of(socket, now)
  return (
    behindMs >= Math.min(ms, UNREAD_WITH_MUCH_BEHIND_MS) &&
    (behindMs >= ms || bytesAfter(due, 0) > MAX_BYTES_BEHIND_OPEN)
  )
}

/** What the responses of a connection have of the budget. */
export function heldBytes({ due, unsent }: Connection): number {
  return bytesAfter(due, -1) + (unsent?.bytes ?? 0)
}

/** For a connection that is closed: it is returned at once and not when that is known. */
export function release({ due, unsent }: Connection): void {
  for (const { [RESERVED]: reservation } of due as Held[]) reservation?.end()
  unsent?.end()
}

function bytesAfter(due: readonly Held[], index: number): number {
  return due.slice(index + 1).reduce((sum, { [RESERVED]: reservation }) => sum + (reservation?.bytes ?? 0), 0)
}
