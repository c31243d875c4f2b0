import { hash } from 'node:crypto'
import { gzipSync } from 'node:zlib'

/** A response body, ready to be sent in one content coding. */
export interface Rendering {
  readonly body: string
  /**
   * The encoding that turns `body` into bytes: latin1 if that gives the same bytes as UTF-8, and for compressed bytes,
   * one per character. Node writes a string in one piece with the head, but a buffer separately, and a buffer takes 200
   * bytes more memory.
   */
  readonly encoding: 'latin1' | 'utf8'
  /** Bytes on the wire. */
  readonly length: number
  /** Strong, quotes included; differs per content coding (RFC 9110, 8.8.3). */
  readonly etag: string
  readonly gzipped: boolean
  /** The same compressed, from the first request for it on. */
  compressed: Rendering | null
}

/** Memory of a rendering besides its text, in bytes. */
export const RENDERING_BYTES = 120

export function identity(body: string): Rendering {
  // From a buffer: a slice of the longer digest as text would keep all of it in memory.
  const digest = hash('sha256', body, 'buffer').toString('base64url', 0, 16)
  const length = Buffer.byteLength(body)
  const encoding = length === body.length ? 'latin1' : 'utf8'
  return { body, encoding, length, etag: `"${digest}"`, gzipped: false, compressed: null }
}

/** The compressed form, which is not kept here. */
export function compress({ body: text, etag }: Rendering): Rendering {
  const body = gzipSync(text).toString('latin1')
  return {
    body,
    encoding: 'latin1',
    length: body.length,
    etag: `${etag.slice(0, -1)}-gzip"`,
    gzipped: true,
    compressed: null,
  }
}

/** Memory of a compressed form. */
export function gzipBytes({ length }: Rendering): number {
  return RENDERING_BYTES + length
}

/** V8 stores a string with one byte per character if all are Latin-1, else with two. */
export function stringBytes(text: string): number {
  return /[\u0100-\uffff]/.test(text) ? text.length * 2 : text.length
}
