import type { Socket } from 'node:net'

/** How long a client may go on sending after the response that ends its connection. */
export const LINGER_MS = 2_000

/**
 * Ends the output of a connection, and discards its input until the client ends it or the time is over. If input is left
 * unread when a socket is closed, the kernel resets the connection, and a client that reads nothing before it has sent
 * everything loses the response (RFC 9112, 9.6).
 */
export function linger(socket: Socket): void {
  const close = () => {
    if (socket.writableFinished) socket.destroy()
    else socket.once('finish', () => socket.destroy())
  }
  socket.end()
  if (socket.readableEnded) {
    close()
    return
  }
  discardInput(socket)
  releaseRequest(socket)
  const timer = setTimeout(close, LINGER_MS)
  socket.once('end', close)
  socket.once('close', () => clearTimeout(timer))
}

type Receiving = Socket & { parser?: { incoming: unknown } | null }

/** Node's parser keeps the request whose body has not come, with its head, until the connection closes. */
function releaseRequest(socket: Socket): void {
  const { parser } = socket as Receiving
  if (parser) parser.incoming = null
}

/** From now on the server's close of the connection lingers if the client may be sending. */
export function lingerOnClose(socket: Socket, mayBeSending: () => boolean): void {
  const destroySoon = socket.destroySoon.bind(socket)
  socket.destroySoon = () => {
    if (mayBeSending()) linger(socket)
    else destroySoon()
  }
}

/** `_paused`: responses of more than 16 KB, since Node 22 64 KB, wait for their turn, and until then nothing is read. */
type Internals = Socket & { readonly _paused?: boolean }

/** Whether Node does not read, so that it cannot see either that the client has left. */
export function isStoppedByNode({ _paused: isStopped = false }: Internals): boolean {
  return isStopped
}

/** Bytes that come from the next tick on are not parsed. Those of the present packet still are. */
export function discardInput(socket: Socket): void {
  Object.assign(socket, { _paused: false }) // else Node would stop at once
  socket.once('resume', () => {
    socket.removeAllListeners('data') // that of Node's parser
    socket.on('data', () => {}) // for a new listener Node takes the socket back from its parser
  })
  socket.pause() // it may be stopped, which only a change of state undoes
  socket.resume()
}

type Parsed = Socket & { parser?: { onIncoming: (request: { upgrade: boolean }) => number } | null }
/** Not an upgrade either, for which Node would take the socket away from the responses that are due. */
const dropRequest = (request: { upgrade: boolean }) => ((request.upgrade = false), 0)

/** From now on requests are dropped, and what comes in later packets than the next of them is not even parsed. */
export function dropRequests(socket: Socket): void {
  const { parser } = socket as Parsed
  if (!parser) return
  parser.onIncoming = (request) => {
    discardInput(socket)
    parser.onIncoming = dropRequest
    return dropRequest(request)
  }
}
