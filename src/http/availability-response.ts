import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Format } from '../availability/model.ts'
import type { Query } from '../availability/query.ts'
import type { Answer, Rendering } from '../cache/answer.ts'
import type { LookupResult } from '../cache/cache.ts'
import { countUnsent, isLastResponse } from '../lib/connection.ts'
import type { CorsOrigins } from './cors.ts'
import { corsFields } from './cors.ts'
import {
  cacheStatus,
  CONTENT_TYPE,
  httpDate,
  isUnmodifiedSince,
  matchesEtag,
  wantsGzip,
} from './response-headers.ts'

type RequestHeaders = IncomingMessage['headers']

export interface ResponseOptions {
  readonly corsOrigins: CorsOrigins
  /** While true, every response closes its connection, so that clients move to another replica. */
  readonly isDraining: () => boolean
}

/** What a request asks for. */
export interface Asked {
  readonly query: Query
  readonly format: Format
}

/**
 * Characters of JSON. Hits of a longer answer are sent in slices: each new filter of a megabyte takes tens of ms, and a
 * hundred, as many as a packet may have, of 30 KB take 100 ms.
 */
const MAX_SHORT_ANSWER = 8_192

/** Longer bodies count among what waits until they are sent. About what a connection takes anyway. */
const MAX_UNCOUNTED_BYTES = 16_384

export function isLong(answer: Answer): boolean {
  return answer.json.length > MAX_SHORT_ANSWER
}

/**
 * The rendering that the client gets.
 * @throws RenderingTooLargeError
 */
export function renderingFor(headers: RequestHeaders, answer: Answer, { query, format }: Asked): Rendering {
  const plain = answer.render(query, format, false)
  return wantsGzip(headers['accept-encoding'], plain.length) ? answer.compressed(plain) : plain
}

interface ResponseParts {
  readonly result: LookupResult
  readonly rendering: Rendering
  readonly format: Format
  readonly trackingId: string
  /** The seconds of a wait that was applied. */
  readonly waitS?: number
}

/**
 * Writes a 200 with the rendering, or a 304 if the client has it (RFC 9110, 15.4.5). Past the framework, because the body
 * is already serialised.
 */
export function createResponseWriter({ corsOrigins, isDraining }: ResponseOptions) {
  const corsFor = corsFields(corsOrigins)
  return (
    response: ServerResponse,
    { result, rendering, format, trackingId, waitS }: ResponseParts,
  ): void => {
    const { headers } = response.req
    const { body, encoding, length, etag, gzipped } = rendering
    const fields = commonFields(result, trackingId, corsFor(headers.origin))
    if (waitS !== undefined) fields.push('preference-applied', `wait=${waitS}`)
    if (isDraining() && isLastResponse(response)) fields.push('connection', 'close')
    fields.push('etag', etag)
    if (result.changedAt > 0) fields.push('last-modified', httpDate(result.changedAt))
    if (isNotModified(headers, etag, result.changedAt)) {
      response.writeHead(304, fields).end()
      return
    }
    fields.push('content-type', CONTENT_TYPE[format], 'content-length', String(length))
    if (gzipped) fields.push('content-encoding', 'gzip')
    response.writeHead(200, fields).end(body, encoding)
    if (length > MAX_UNCOUNTED_BYTES) countUnsent(response)
  }
}

/** The headers of both a 200 and a 304, as the flat list that writeHead takes. */
function commonFields(result: LookupResult, trackingId: string, cors: readonly string[]): string[] {
  const age = String(Math.floor(result.ageMs / 1000))
  const fields = ['cache-control', 'no-cache', 'age', age, 'cache-status', cacheStatus(result)]
  fields.push('tracking-id', trackingId, 'x-content-type-options', 'nosniff', ...cors)
  return fields
}

/** If-Modified-Since counts only without If-None-Match (RFC 9110, 13.1.3). */
function isNotModified(headers: RequestHeaders, etag: string, changedAt: number): boolean {
  const { 'if-none-match': tags, 'if-modified-since': date } = headers
  return tags === undefined ? isUnmodifiedSince(date, changedAt) : matchesEtag(tags, etag)
}
