import { negotiate } from '@fastify/accept-negotiator'
import { LRUCache } from 'lru-cache'
import type { Format } from '../availability/model.ts'
import type { LookupResult } from '../cache/cache.ts'

export const CONTENT_TYPE: Record<Format, string> = {
  json: 'application/json; charset=utf-8',
  xml: 'application/xml; charset=utf-8',
}

const CACHE = 'ev-availability-proxy'

/**
 * Cache-Status (RFC 9211): `hit` and `fwd` exclude each other, `ttl` is in whole seconds and negative for a stale
 * answer, whose `detail` is the code of the error that it replaces, or that a later answer was empty. No `key`: that is
 * the station's id.
 */
export function cacheStatus(found: LookupResult): string {
  const { result, ttlMs, wasExpired, isStored, staleReason, isEmptyUnconfirmed = false } = found
  const forwarded = wasExpired ? 'fwd=stale' : 'fwd=uri-miss'
  switch (result) {
    case 'stale':
      if (isEmptyUnconfirmed) {
        return `${CACHE}; hit; ttl=${Math.min(-1, Math.floor(ttlMs / 1000))}; detail=empty-unconfirmed`
      }
      return `${CACHE}; hit; ttl=${Math.floor(ttlMs / 1000)}`
    case 'hit':
      return `${CACHE}; hit; ttl=${Math.floor(ttlMs / 1000)}`
    case 'stale_error':
      return `${CACHE}; hit; ttl=${Math.floor(ttlMs / 1000)}; detail=${staleReason?.code ?? 'error'}`
    case 'coalesced':
      return `${CACHE}; ${forwarded}; collapsed`
    case 'miss':
      return `${CACHE}; ${forwarded}; fwd-status=200${isStored ? '; stored' : ''}`
  }
}

/** One entity tag of a list: `"…"` or `W/"…"` (RFC 9110, 8.8.3). */
const ENTITY_TAG = /(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g

/** Whether If-None-Match contains this tag: in a list, with `W/`, or as `*`; weak comparison (RFC 9110, 13.1.2). */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false
  if (ifNoneMatch === etag) return true // the form that browsers send
  if (ifNoneMatch.trim() === '*') return true
  for (const [, tag] of ifNoneMatch.matchAll(ENTITY_TAG)) if (tag === etag) return true
  return false
}

/** The HTTP-date of a time in whole seconds since the epoch. */
export function httpDate(seconds: number): string {
  return new Date(seconds * 1000).toUTCString()
}

/** The form of asctime, which has no time zone (RFC 9110, 5.6.7); the other two forms end in GMT. */
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/

/** Whether the answer has not changed since the date; false for a text that is no date. `changedAt` is 0 for never. */
export function isUnmodifiedSince(date: string | undefined, changedAt: number): boolean {
  if (date === undefined || changedAt === 0 || date.length > 40) return false
  const text = ASCTIME.test(date) ? `${date} GMT` : date
  return text.endsWith(' GMT') && changedAt * 1000 <= Date.parse(text)
}

/** Smaller bodies gain little from compression. */
const MIN_GZIP_BYTES = 1_000

/** By Accept-Encoding: browsers and SDKs send a handful of different values. */
const negotiated = new LRUCache<string, boolean>({ max: 200 })
const MAX_CACHED_HEADER_LENGTH = 200

/** Whether a body of this size is compressed: the client must name gzip, with a q above 0 (RFC 9110, 12.5.3). */
export function wantsGzip(acceptEncoding: string | string[] | undefined, bytes: number): boolean {
  if (typeof acceptEncoding !== 'string' || bytes < MIN_GZIP_BYTES) return false
  const cached = negotiated.get(acceptEncoding)
  if (cached !== undefined) return cached
  // A wildcard does not name gzip; the negotiator would read it as gzip even beside `gzip;q=0`.
  const named = acceptEncoding.toLowerCase().replaceAll('*', 'any')
  const wanted = negotiate(named, ['gzip', 'identity']) === 'gzip'
  if (acceptEncoding.length <= MAX_CACHED_HEADER_LENGTH) negotiated.set(acceptEncoding, wanted)
  return wanted
}
