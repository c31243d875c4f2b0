import { negotiate } from '@fastify/accept-negotiator'
import { LRUCache } from 'lru-cache'

/** From this size on a body is compressed for those who ask; small ones gain little. */
const GZIP_FROM_BYTES = 1_000

/** Browsers and SDKs send a handful of different headers. */
const known = new LRUCache<string, boolean>({ max: 200 })

/** Whether gzip is worth it for a body of this size, and was asked for by name with a q above 0 (RFC 9110, 12.5.3). */
export function wantsGzip(acceptEncoding: string | string[] | undefined, bytes: number): boolean {
  if (typeof acceptEncoding !== 'string' || bytes < GZIP_FROM_BYTES) return false
  const remembered = known.get(acceptEncoding)
  if (remembered !== undefined) return remembered
  // A wildcard asks for nothing by name; the negotiator would read it as gzip even beside `gzip;q=0`.
  const named = acceptEncoding.toLowerCase().replaceAll('*', 'any')
  const wanted = negotiate(named, ['gzip', 'identity']) === 'gzip'
  if (acceptEncoding.length <= 200) known.set(acceptEncoding, wanted)
  return wanted
}
