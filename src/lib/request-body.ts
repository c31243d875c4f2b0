import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Parts of a body that are handed on whatever their length; those after them have at least `MIN_PART_BYTES`. */
export const MAX_SMALL_PARTS = 256
export const MIN_PART_BYTES = 1_024

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/**
 * Bounds what the body of a request takes, whatever its chunks (RFC 9112, 7.1) and packets are: one byte in each is valid.
 * If nobody reads a body in chunks, the connection ends with the response.
 */
export function boundBody(request: IncomingMessage, response: ServerResponse): void {
  const { socket } = request // a stream's pipeline that fails takes it from the request
  const joiner = new ChunkJoiner(request)
  request.push = (chunk: Buffer | null) => joiner.push(chunk)
  if (request.headers['transfer-encoding'] === undefined) return
  response.shouldKeepAlive = false
  response.once('finish', () => {
    if (!request.complete) discardInput(socket)
  })
}

/** Bytes that come from now on are not parsed. Those of the present packet still are. */
export function discardInput(socket: Socket): void {
  socket.removeAllListeners('data') // that of Node's parser
  socket.on('data', () => {}) // for a new listener Node takes the socket back from its parser
  socket.resume()
}

/**
 * Hands on the short chunks of one turn of the event loop as one part. Node makes an event and a buffer of 200 bytes of each
 * chunk, of which a packet has up to ten thousand, and reads up to 32 packets in a turn. Here the second short chunk of a
 * turn is in the last packet that is read in it.
 */
class ChunkJoiner {
  readonly #socket: Socket
  readonly #handOn: (part: Buffer | null) => boolean
  /** Bytes of the whole body; NaN if they are not known. */
  readonly #length: number
  /** Chunks that have not been handed on yet. */
  #pending: Buffer[] = []
  /** Joined parts that have been handed on. */
  #parts = 0
  /** `#endTurn` is scheduled. */
  #isTurnOpen = false

  constructor(request: IncomingMessage) {
    this.#socket = request.socket
    this.#handOn = request.push.bind(request)
    this.#length = Number(request.headers['content-length'])
  }

  /** @returns false if the socket is to be read no further for now */
  push(chunk: Buffer | null): boolean {
    if (chunk === null) {
      if (this.#pending.length > 0) this.#handOn(this.#join())
      return this.#handOn(null)
    }
    const isWhole = chunk.length === this.#length
    const isLong = chunk.length >= MIN_PART_BYTES
    if ((isWhole || isLong) && this.#pending.length === 0) return this.#handOn(chunk)
    if (!this.#isTurnOpen) {
      this.#isTurnOpen = true
      setImmediate(this.#endTurn)
    }
    this.#pending.push(chunk)
    return this.#pending.length === 1 // most bodies have no second short chunk
  }

  readonly #endTurn = (): void => {
    this.#isTurnOpen = false
    if (this.#pending.length === 0) return // the body has ended
    const part = this.#join()
    if (part.length < MIN_PART_BYTES && this.#parts >= MAX_SMALL_PARTS) {
      this.#pending = [part]
      this.#socket.resume()
      return
    }
    this.#parts++
    if (!this.#handOn(part)) this.#socket.pause() // until its reader has read: as Node does for each chunk
  }

  #join(): Buffer {
    const [first] = this.#pending
    const part = this.#pending.length === 1 && first !== undefined ? first : Buffer.concat(this.#pending)
    this.#pending = []
    return part
  }
}
