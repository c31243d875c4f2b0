import { gunzipSync } from 'node:zlib'
import { MAX_SHORT_TEXT } from '../../availability/decode.ts'
import { ServiceError } from '../../errors.ts'
import type { Turns } from '../../lib/turns.ts'
import type { UpstreamResponse } from './send.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Largest body, both compressed (undici's maxResponseSize) and decompressed. */
export const MAX_BODY_BYTES = 1024 * 1024

/** While so many wait to be decoded, others stay with upstream, and so do the calls behind them on their connections. */
const MAX_WAITING_BODIES = 4

/**
 * The body as text. Decompression stops at {@link MAX_BODY_BYTES}.
 * @throws ServiceError UpstreamFailed for an unexpected or invalid content coding, or invalid UTF-8
 */
export async function readText(response: UpstreamResponse, turns?: Turns): Promise<string> {
  const coding = String(response.headers['content-encoding'] ?? 'identity')
    .trim()
    .toLowerCase()
  if (turns !== undefined && turns.waiting >= MAX_WAITING_BODIES) await turns.next()
  const wire = Buffer.from(await response.body.arrayBuffer())
  if (decodedLength(wire, coding) > MAX_SHORT_TEXT) await turns?.next()
  return decodeUtf8(decompress(wire, coding))
}

/** What the body says itself: gzip ends in the length of its content. */
function decodedLength(wire: Buffer, coding: string): number {
  return coding === 'identity' || wire.length < 4 ? wire.length : wire.readUInt32LE(wire.length - 4)
}

/** Synchronous: passing a kilobyte to a worker thread costs five times as much, and a megabyte takes 2 ms. */
function decompress(wire: Buffer, coding: string): Buffer {
  if (coding === 'identity' || coding === '') return wire
  if (coding !== 'gzip' && coding !== 'x-gzip') throw unreadable('the content coding was not requested')
  try {
    return gunzipSync(wire, { maxOutputLength: MAX_BODY_BYTES })
  } catch (cause) {
    throw unreadable('the body does not decompress within the limit', cause)
  }
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw unreadable('the body is not UTF-8', cause)
  }
}

function unreadable(reason: string, cause?: unknown): ServiceError {
  return new ServiceError('UpstreamFailed', { reason, cause })
}
