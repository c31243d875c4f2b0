import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { heapOfHead } from './head-limits.ts'
import type { ReadTurns } from './read-turns.ts'

/** Parts of a body that are handed on whatever their length; those after them have at least `MIN_PART_BYTES`. */
export const MAX_SMALL_PARTS = 256
export const MIN_PART_BYTES = 1_024

/** Of a head, within what a request takes anyway. */
export const USUAL_HEAD_BYTES = 2_000

/** Largest body that a route reads. */
export const MAX_BODY_BYTES = 65_536

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Calls back once somebody reads the body, who then listens for errors too. The first bytes may come before. */
export function whenRead(request: IncomingMessage, callback: () => void): void {
  if (request.listenerCount('error') > 0) {
    callback()
    return
  }
  const onNewListener = (event: string | symbol) => {
    if (event !== 'error') return
    request.off('newListener', onNewListener)
    queueMicrotask(callback)
  }
  request.on('newListener', onNewListener)
}

export interface BodyBounds {
  readonly reading: ReadTurns
  /** Takes so many bytes of memory for a long head, or for what has come of the body; false if there is no room. */
  readonly tryTake: (bytes: number) => boolean
  /** There was no room: nothing of the body is handed on any more. */
  readonly onOverload: () => void
}

/**
 * Bounds what the body of a request takes, whatever its chunks (RFC 9112, 7.1) and packets are: one byte in each is valid.
 * If nobody reads a body in chunks, the connection ends with the response.
 */
export function boundBody(request: IncomingMessage, response: ServerResponse, bounds: BodyBounds): void {
  const { reading, tryTake, onOverload } = bounds
  const joiner = new ChunkJoiner(request, reading)
  let takenBytes = 0
  let isRejected = false
  const reject = () => {
    isRejected = true
    onOverload()
  }
  const headBytes = heapOfHead(request.rawHeaders) - USUAL_HEAD_BYTES
  if (headBytes > 0 && !tryTake(headBytes)) reject()
  request.push = (chunk: Buffer | null) => {
    const bytes = Math.min(chunk?.length ?? 0, MAX_BODY_BYTES - takenBytes) // a longer body is rejected
    takenBytes += bytes
    if (!isRejected && !tryTake(bytes)) reject()
    return isRejected ? true : joiner.push(chunk)
  }
  if (request.headers['transfer-encoding'] !== undefined) response.shouldKeepAlive = false
}

const NOTHING = Buffer.alloc(0)

/**
 * Hands on the short chunks of one turn of the event loop as one part. Node makes an event and a buffer of 200 bytes of each
 * chunk, of which a packet has up to ten thousand, and reads up to 32 packets in a turn. Here the second short chunk of a
 * turn is in the last packet that is read in it. Chunks are copied as they come: a turn has a packet of each connection, and
 * the buffers of forty packets would fill the heap of the image.
 */
class ChunkJoiner {
  readonly #reading: ReadTurns
  readonly #socket: Socket
  readonly #handOn: (part: Buffer | null) => boolean
  /** Bytes of the whole body; NaN if they are not known. */
  readonly #length: number
  /** Begins with the chunks that have not been handed on yet. */
  #pending = NOTHING
  #pendingBytes = 0
  /** Joined parts that have been handed on. */
  #parts = 0
  /** `#endTurn` is scheduled. */
  #isTurnOpen = false

  constructor(request: IncomingMessage, reading: ReadTurns) {
    this.#reading = reading
    this.#socket = request.socket
    this.#handOn = request.push.bind(request)
    this.#length = Number(request.headers['content-length'])
  }

  /** @returns false if the socket is to be read no further for now */
  push(chunk: Buffer | null): boolean {
    if (chunk === null) {
      if (this.#pendingBytes > 0) this.#handOn(this.#take())
      return this.#handOn(null)
    }
    const isFirst = this.#pendingBytes === 0
    const isWhole = chunk.length === this.#length
    const isLong = chunk.length >= MIN_PART_BYTES
    if ((isWhole || isLong) && isFirst) return this.#handOn(chunk)
    if (!this.#isTurnOpen) {
      this.#isTurnOpen = true
      this.#reading.parsing(performance.now())
      setImmediate(this.#waitForTurn)
    }
    this.#append(chunk)
    return isFirst // most bodies have no second short chunk
  }

  readonly #waitForTurn = (): void => void this.#reading.next().then(this.#endTurn)

  readonly #endTurn = (): void => {
    this.#isTurnOpen = false
    if (this.#pendingBytes === 0) return // the body has ended
    if (this.#pendingBytes < MIN_PART_BYTES && this.#parts >= MAX_SMALL_PARTS) {
      this.#socket.resume()
      return
    }
    this.#parts++
    if (!this.#handOn(this.#take())) this.#socket.pause() // until its reader has read: as Node does for each chunk
  }

  #append(chunk: Buffer): void {
    const bytes = this.#pendingBytes + chunk.length
    if (bytes > this.#pending.length) {
      const larger = Buffer.allocUnsafe(Math.max(bytes, 2 * this.#pending.length))
      this.#pending.copy(larger, 0, 0, this.#pendingBytes)
      this.#pending = larger
    }
    chunk.copy(this.#pending, this.#pendingBytes)
    this.#pendingBytes = bytes
  }

  /** The pending bytes in a buffer of their length: it may be kept until the body has ended. */
  #take(): Buffer {
    const isFull = this.#pendingBytes === this.#pending.length
    const part = isFull ? this.#pending : Buffer.from(this.#pending.subarray(0, this.#pendingBytes))
    this.#pending = NOTHING
    this.#pendingBytes = 0
    return part
  }
}
