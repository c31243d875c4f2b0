import { maxHeaderSize } from 'node:http'

/** Headers of a request. Node keeps one more, so that a request with too many is known. */
export const MAX_HEADERS = 2_000
/** The same however many connections are open: no usual client sends as many. */
export const MIN_MAX_HEADERS = 100
/** Bytes of a request line and of the names and values of its headers, or of its trailers: 16 KB without an option of Node. */
export const MAX_HEAD_BYTES = maxHeaderSize
/** The same however many connections are open. */
export const MIN_MAX_HEAD_BYTES = Math.min(8_192, MAX_HEAD_BYTES)
/** Heap of a header besides its bytes: two strings, and two places in an array that grows. */
const HEADER_BYTES = 64
/** The part of the heap that unfinished heads may take, but for the minimum that each connection has. */
const HEADS_SHARE = 0.125
/** A new connection may have such a part of what is left. */
const PARTS = 32

/** What a connection may send of a head. */
export interface HeadLimits {
  readonly headers: number
  readonly bytes: number
}

const bounded = (value: number, least: number, most: number) =>
  Math.floor(Math.max(least, Math.min(most, value)))
const heapOf = ({ headers, bytes }: HeadLimits) => bytes + headers * HEADER_BYTES

/** Of names and values in turn, as Node has them. */
export function heapOfHead(rawHeaders: readonly string[]): number {
  return rawHeaders.reduce((bytes, text) => bytes + text.length, (rawHeaders.length / 2) * HEADER_BYTES)
}

/**
 * What the heads of all connections can take together, whether they are sent or not: a connection is granted its limits
 * when it is accepted, while much is left the maximum, then fewer headers, then fewer bytes too, down to the minimum.
 */
export class HeadAccount {
  #left: number

  constructor(heapLimitBytes: number) {
    this.#left = heapLimitBytes * HEADS_SHARE
  }

  grant(): HeadLimits {
    const part = this.#left / PARTS
    const limits = {
      headers: bounded((part - MAX_HEAD_BYTES) / HEADER_BYTES, MIN_MAX_HEADERS, MAX_HEADERS),
      bytes: bounded(part - MIN_MAX_HEADERS * HEADER_BYTES, MIN_MAX_HEAD_BYTES, MAX_HEAD_BYTES),
    }
    this.#left -= heapOf(limits)
    return limits
  }

  /** The connection has closed. */
  giveBack(limits: HeadLimits): void {
    this.#left += heapOf(limits)
  }
}
