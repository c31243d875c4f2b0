import type { Connection } from './connection.ts'
import { endForOverload } from './connection.ts'
import { heldBytes, isHeldOpen, release, UNREAD_WITH_MUCH_BEHIND_MS } from './held-responses.ts'
import { waitsForClient } from './unread-time.ts'

/** A client that reads steadily has so much time for a long response. */
export const LONG_UNREAD_MS = 30_000

/**
 * Ends connections whose client is the reason that something waits, until they have returned the bytes: those first that
 * have something behind a response that is held open or not read, then those that have been reading one for long, and of
 * each those with most bytes. False, and none ends, if that is not enough.
 */
export function makeRoom(connections: Iterable<Connection>, missing: number): boolean {
  const now = performance.now()
  const candidates = []
  let returned = 0
  for (const connection of connections) {
    const rank = rankOf(connection, now)
    if (rank === 0) continue
    const bytes = heldBytes(connection)
    candidates.push({ connection, rank, bytes })
    returned += bytes
  }
  if (returned < missing) return false
  candidates.sort((a, b) => b.rank - a.rank || b.bytes - a.bytes)
  let left = missing
  for (const { connection, bytes } of candidates) {
    if (left <= 0) break
    endForOverload(connection)
    release(connection)
    left -= bytes
  }
  return true
}

/** 0 for a connection that is not ended. */
function rankOf({ socket, due, unread, requestedAt }: Connection, now: number): 0 | 1 | 2 {
  if (socket.destroyed) return 0
  if (due.length > 1 && due.some(isHeldOpen)) return 2
  if (!waitsForClient(socket)) return 0
  if (due.length > 1 || unread.last >= UNREAD_WITH_MUCH_BEHIND_MS) return 2
  return now - requestedAt >= LONG_UNREAD_MS ? 1 : 0
}
