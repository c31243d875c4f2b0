import type { Socket } from 'node:net'

/**
 * Headers of a request. Without a maximum, a head or trailers of 64 KB take 300 KB of memory, and with this one 65 KB, until
 * they are complete.
 */
export const MAX_HEADERS = 2_000
/** The same however many connections are open: no usual client sends as many. */
export const MIN_MAX_HEADERS = 100
/** A new connection may have the maximum beside so many others; beside twice as many, half of it, and so on. */
const FULL_CONNECTIONS = 64

/** Headers that a request of a new connection may have, beside so many other connections. */
export function maxHeadersBeside(connections: number): number {
  const share = Math.floor((MAX_HEADERS * FULL_CONNECTIONS) / Math.max(1, connections))
  return Math.max(MIN_MAX_HEADERS, Math.min(MAX_HEADERS, share))
}

type Parsed = Socket & { readonly parser?: { maxHeaderPairs: number } | null }

/**
 * From now on a request of the connection with more headers has one more than the limit, as Node drops those beyond its own
 * maximum, `Host` and the body's length among them.
 */
export function limitHeaders(socket: Socket, limit: number): void {
  const { parser } = socket as Parsed
  if (parser) parser.maxHeaderPairs = 2 * (limit + 1)
}
