import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Format } from '../availability/model.ts'
import type { Query } from '../availability/query.ts'
import type { Rendering } from '../cache/answer.ts'
import type { LookupResult } from '../cache/cache.ts'
import { invalidParameter, ServiceError } from '../errors.ts'
import { isLastResponse } from '../lib/connections.ts'
import { Turns } from '../lib/turns.ts'
import type { Admit } from './admission.ts'
import { abortOnDisconnect } from './client-disconnect.ts'
import type { CacheGet } from './concurrency-limit.ts'
import type { CorsOrigins } from './cors.ts'
import { corsFields } from './cors.ts'
import type { Hold } from './live/long-poll.ts'
import { preferredWaitS } from './live/long-poll.ts'
import { extensionOf } from './paths.ts'
import { QueryCache } from './query-cache.ts'
import type { RawQuery } from './request-context.ts'
import { initRequest } from './request-context.ts'
import type { LogRequest } from './request-log.ts'
import {
  cacheStatus,
  CONTENT_TYPE,
  httpDate,
  isUnmodifiedSince,
  matchesEtag,
  wantsGzip,
} from './response-headers.ts'
import { validateRequest } from './validate-request.ts'

/** The proxied route; the format is a parameter, so that an unknown one is a 400 and not a 404. */
const ROUTE = '/search/2/chargingAvailability.:ext'

export interface RouteOptions {
  readonly corsOrigins: CorsOrigins
  /** While true, every response closes its connection, so that clients move to another replica. */
  readonly isDraining: () => boolean
}

export interface RouteDeps {
  /** Null: every client is admitted. */
  readonly admit: Admit | null
  readonly cacheGet: CacheGet
  /** The call in flight for a station, undefined without one. */
  readonly inFlight: (id: string) => unknown
  readonly logRequest: LogRequest
  readonly hold: Hold
}

/** Distinct filters and keys whose parsed form is cached, for all stations together. */
const MAX_CACHED_FILTERS = 5_000
/**
 * Characters of JSON. Hits of a longer answer are sent in slices: each new filter of a megabyte takes tens of ms, and a
 * hundred, as many as a packet may have, of 30 KB take 100 ms.
 */
const MAX_SHORT_ANSWER = 8_192

/**
 * Registers `GET /search/2/chargingAvailability.{json|xml}`. A hit runs no hook and creates no promise: both would
 * cost more than the lookup (bench/parts/hot-path.mjs). So admission is a call here, and `send` is used as the
 * continuation of a promise only if the cache returned one.
 */
export function availabilityRoute(app: FastifyInstance, options: RouteOptions, deps: RouteDeps): void {
  const { admit, cacheGet, inFlight, hold } = deps
  const turns = new Turns()
  const queries = new QueryCache(MAX_CACHED_FILTERS)
  const send = createResponder(options, deps.logRequest)

  app.get<RawQuery>(ROUTE, (request, reply) => {
    initRequest(request)
    validateRequest(request.raw, reply.raw)
    admit?.(request)
    const format = (request.format = formatOf(request.url))
    const query = queries.read(request.query.raw)
    request.station = query.id
    request.result = 'error' // until the lookup has a result
    const onWait = () => {
      request.result = inFlight(query.id) === undefined ? 'miss' : 'coalesced' // if the client leaves
      return abortOnDisconnect(reply)
    }
    const found = cacheGet(query.id, onWait, request.rateLimitKey, request.client)
    if (request.raw.headers.prefer !== undefined) {
      return holdBack(request, reply, { found, query, format, hold }).then((held) =>
        send(request, reply, held),
      )
    }
    const isLater = found instanceof Promise || found.answer.json.length > MAX_SHORT_ANSWER
    return isLater
      ? turns.wait(Promise.resolve(found)).then((result) => send(request, reply, { result, query, format }))
      : send(request, reply, { result: found, query, format })
  })
}

/**
 * The format in the target as it was sent: the router's copy is decoded.
 * @throws ServiceError NotFound for another spelling of the path, InvalidParameter for another format
 */
function formatOf(target: string): Format {
  const ext = extensionOf(target)
  if (ext === 'json' || ext === 'xml') return ext
  throw ext === undefined ? new ServiceError('NotFound') : invalidParameter('ext', "must be 'json' or 'xml'")
}

interface Found {
  readonly result: LookupResult
  readonly query: Query
  readonly format: Format
  /** The seconds of a wait that was applied. */
  readonly waitS?: number
}

interface HoldBackParts extends Pick<Found, 'query' | 'format'> {
  readonly found: LookupResult | Promise<LookupResult>
  readonly hold: Hold
}

/** `Prefer: wait=N` with an entity tag that matches: the answer as soon as another tag belongs to it, or after N seconds. */
async function holdBack(
  request: FastifyRequest<RawQuery>,
  reply: FastifyReply,
  { found, query, format, hold }: HoldBackParts,
): Promise<Found> {
  const { headers } = request.raw
  const result = await found
  const first = { result, query, format }
  const seconds = preferredWaitS(headers.prefer)
  const { etag } = renderingFor(headers, first)
  if (seconds === null || !matchesEtag(headers['if-none-match'], etag)) return first
  const isKnown = ({ answer }: Pick<LookupResult, 'answer'>) =>
    renderingFor(headers, { ...first, result: { ...result, answer } }).etag === etag
  const current = await hold({ request, reply, station: query.id, seconds, isKnown })
  if (current === undefined) return first
  const now = { ...result, ...current, result: 'hit', staleReason: null } as const
  return { ...first, result: current === null ? result : now, waitS: seconds }
}

function createResponder({ corsOrigins, isDraining }: RouteOptions, logRequest: LogRequest) {
  const corsFor = corsFields(corsOrigins)
  return (request: FastifyRequest, reply: FastifyReply, found: Found): void => {
    const { result, format } = found
    const { headers } = request.raw
    request.result = result.result
    const fields = commonFields(result, request.trackingId, corsFor(headers.origin))
    if (found.waitS !== undefined) fields.push('preference-applied', `wait=${found.waitS}`)
    if (isDraining() && isLastResponse(reply.raw)) fields.push('connection', 'close')
    const rendering = renderingFor(headers, found) // before hijack, so that an error of it gets a response
    writeRendering(headers, reply.hijack().raw, { rendering, format, fields, changedAt: result.changedAt })
    logRequest(request, reply)
  }
}

/** The headers of both a 200 and a 304, as the flat list that writeHead takes. */
function commonFields(result: LookupResult, trackingId: string, cors: readonly string[]): string[] {
  const age = String(Math.floor(result.ageMs / 1000))
  const fields = ['cache-control', 'no-cache', 'age', age, 'cache-status', cacheStatus(result)]
  fields.push('tracking-id', trackingId, 'x-content-type-options', 'nosniff', ...cors)
  return fields
}

function renderingFor(headers: IncomingMessage['headers'], { result, query, format }: Found): Rendering {
  const plain = result.answer.render(query, format, false)
  return wantsGzip(headers['accept-encoding'], plain.length) ? result.answer.compressed(plain) : plain
}

interface Written {
  readonly rendering: Rendering
  readonly format: Format
  readonly fields: string[]
  /** Seconds since the epoch; 0 if no change has been seen. */
  readonly changedAt: number
}

/** If-Modified-Since counts only without If-None-Match (RFC 9110, 13.1.3). */
function isNotModified(headers: IncomingMessage['headers'], etag: string, changedAt: number): boolean {
  const { 'if-none-match': tags, 'if-modified-since': date } = headers
  return tags === undefined ? isUnmodifiedSince(date, changedAt) : matchesEtag(tags, etag)
}

/**
 * 200 with the rendering, or 304 if the client has it (RFC 9110, 15.4.5). Written past the framework, because the body
 * is already serialised.
 */
function writeRendering(
  headers: IncomingMessage['headers'],
  response: ServerResponse,
  { rendering, format, fields, changedAt }: Written,
): void {
  const { body, encoding, length, etag, gzipped } = rendering
  fields.push('etag', etag)
  if (changedAt > 0) fields.push('last-modified', httpDate(changedAt))
  if (isNotModified(headers, etag, changedAt)) {
    response.writeHead(304, fields).end()
    return
  }
  fields.push('content-type', CONTENT_TYPE[format], 'content-length', String(length))
  if (gzipped) fields.push('content-encoding', 'gzip')
  response.writeHead(200, fields).end(body, encoding)
}
