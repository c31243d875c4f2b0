import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { getHeapStatistics } from 'node:v8'
import type { FastifyServerFactory } from 'fastify'
import type { ConnectionsDeps } from './connection.ts'
import { Connections } from './connections.ts'
import type { HeadLimits } from './head-limits.ts'
import { HeadAccount } from './head-limits.ts'

export interface HttpServerOptions extends ConnectionsDeps {
  /** Called before the framework: it answers a request, or returns false. */
  readonly answerFirst?: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
  /** What the heads of its connections can take; by default what the heap of the process allows. */
  readonly heads?: HeadAccount
}

/** Limits the time for a whole request and for its headers, so that slow senders cannot hold connections. */
const REQUEST_TIMEOUT_MS = 30_000
const HEADERS_TIMEOUT_MS = 10_000
/** Longer than load balancers keep idle connections (usually 60 s), so that they are the ones who close. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000
/** How often Node looks for requests over their time. */
const CHECK_INTERVAL_MS = 5_000
/** A client that is so far behind in reading its responses loses its connection: one that reads nothing, after so long. */
const UNREAD_TIMEOUT_MS = 60_000

const connectionsOf = new WeakMap<Server, Connections>()

/** The connections of a server of `httpServer`. */
export function connectionsIn(server: Server): Connections {
  const connections = connectionsOf.get(server)
  if (connections === undefined) throw new Error('the server was not created by httpServer')
  return connections
}

/**
 * The server of a listener, with the time limits and the bounds that both listeners have. As a factory of Fastify, which
 * then opens one server for `localhost` and not a second, bare one for its other address.
 */
export function httpServer(options: HttpServerOptions): FastifyServerFactory {
  return (handler) => createLimitedServer(handler, options)
}

function createLimitedServer(handler: RequestListener, options: HttpServerOptions): Server {
  const connections = new Connections(options)
  const { answerFirst } = options
  const limited = connections.limit((request, response) => {
    if (answerFirst?.(request, response) !== true) handler(request, response)
  })
  const server = createServer({
    requestTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: HEADERS_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    requireHostHeader: false,
  })
  server.on('request', limited)
  server.on('checkExpectation', limited)
  limitHeads(server, connections, options.heads ?? new HeadAccount(getHeapStatistics().heap_size_limit))
  ;(server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true
  server.closeIdleConnections = () => connections.closeIdle(Number.POSITIVE_INFINITY)
  server.closeAllConnections = () => connections.destroyAll()
  connectionsOf.set(server, connections)
  const checking = setInterval(() => connections.endUnread(UNREAD_TIMEOUT_MS), CHECK_INTERVAL_MS)
  checking.unref()
  server.once('close', () => clearInterval(checking))
  return server
}

/** Node gives the parser of a new connection, in its own listener, the limits that the server has at that moment. */
function limitHeads(
  server: Server & { maxHeaderSize?: number },
  connections: Connections,
  heads: HeadAccount,
): void {
  let limits: HeadLimits
  server.prependListener('connection', (socket: Socket) => {
    const granted = heads.grant()
    socket.once('close', () => heads.giveBack(granted))
    server.maxHeaderSize = granted.bytes
    server.maxHeadersCount = granted.headers + 1 // one too many is seen; Node drops the others, the body's length among them
    limits = granted
  })
  server.on('connection', (socket: Socket) => connections.onConnection(socket, limits.headers))
}
