import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Format } from '../availability/model.ts'
import type { Query } from '../availability/query.ts'
import type { Rendering } from '../cache/answer.ts'
import type { LookupResult } from '../cache/cache.ts'
import { invalidParameter, ServiceError } from '../errors.ts'
import { initRequest } from './request-context.ts'
import { cacheStatus } from './cache-status.ts'
import { matchesEtag } from './etag.ts'
import { wantsGzip } from './content-coding.ts'
import type { CorsOrigins } from './cors.ts'
import { corsFields } from './cors.ts'
import type { CacheGet } from './concurrency-limit.ts'
import { abortOnDisconnect } from './client-disconnect.ts'
import { CONTENT_TYPE } from './error-body.ts'
import { QueryCache } from './query-cache.ts'
import type { LogRequest } from './request-log.ts'
import { validateRequest } from './validate-request.ts'

/** The mirrored route; what follows the dot is the format, which a client may get wrong. */
const ROUTE = '/search/2/chargingAvailability.:ext'
const PATH = /^\/search\/2\/chargingAvailability\.([^/?#]*)(?=[?#]|$)/

/** Whether a target names the mirrored resource, in whatever format. */
export function isAvailabilityPath(target: string): boolean {
  return PATH.test(target)
}

export interface RouteOptions {
  readonly corsOrigins: CorsOrigins
  /** While true, every answer ends its connection, so that clients move to another replica. */
  readonly isDraining: () => boolean
}

export interface RouteDeps {
  readonly cacheGet: CacheGet
  /** Told of every answer. */
  readonly logRequest: LogRequest
}

/** Ways to ask that are remembered: key, filter and their order, whatever the station. */
const MAX_REMEMBERED = 5_000

interface Mirrored {
  /** The query as it came: its rules are ours, not those of the framework's parser. */
  Querystring: { raw: string }
}

/**
 * Registers `GET /search/2/chargingAvailability.{json|xml}`. The route's scope has hooks only for admission.ts, and
 * an answer that is held is written without a promise: both are what a hit costs (bench/parts/hot-path.mjs).
 */
export function availabilityRoute(
  app: FastifyInstance,
  options: RouteOptions,
  { cacheGet: lookUp, logRequest: report }: RouteDeps,
): void {
  const corsFor = corsFields(options.corsOrigins)
  const queries = new QueryCache(MAX_REMEMBERED)
  app.get<Mirrored>(ROUTE, (request, reply) => {
    initRequest(request)
    validateRequest(request.raw, reply.raw)
    const format = (request.format = formatOf(request.url))
    const query = queries.read(request.query.raw)
    request.station = query.id
    request.result = 'error' // until something is found
    const found = lookUp(query.id, () => abortOnDisconnect(reply), request.limitedAs)
    const answer = (it: LookupResult) => {
      request.result = it.result
      const fields = answerFields(it, request.trackingId, corsFor(request.raw.headers.origin))
      if (options.isDraining()) fields.push('connection', 'close')
      const rendering = renderingFor(request.raw, it, query, format) // before hijack: what throws is answered
      send(request.raw, reply.hijack().raw, rendering, format, fields)
      report(request, reply)
    }
    return found instanceof Promise ? found.then(answer) : answer(found)
  })
}

/**
 * The format that the target asks for, as it is written: the router has decoded its own copy.
 * @throws ServiceError NotFound for another spelling of the path, InvalidParameter for another ending
 */
function formatOf(target: string): Format {
  const ext = PATH.exec(target)?.[1]
  if (ext === 'json' || ext === 'xml') return ext
  throw ext === undefined ? new ServiceError('NotFound') : invalidParameter('ext', "must be 'json' or 'xml'")
}

function renderingFor(
  { headers }: IncomingMessage,
  { answer }: LookupResult,
  query: Query,
  format: Format,
): Rendering {
  const plain = answer.render(query, format, false)
  return wantsGzip(headers['accept-encoding'], plain.length) ? answer.render(query, format, true) : plain
}

/** What a 200 and a 304 have in common, as the flat list that writeHead takes. */
function answerFields(found: LookupResult, trackingId: string, cors: readonly string[]): string[] {
  const age = String(Math.floor(found.ageMs / 1000))
  const own = ['cache-control', 'no-cache', 'age', age, 'cache-status', cacheStatus(found)]
  own.push('tracking-id', trackingId, 'x-content-type-options', 'nosniff', ...cors)
  return own
}

/**
 * 200 with the rendering, or 304 to a client that holds it already (RFC 9110, 15.4.5). It is written past the
 * framework's serialisation, for there is nothing left to serialise.
 */
function send(
  { headers }: IncomingMessage,
  response: ServerResponse,
  { body, encoding, length, etag, gzipped }: Rendering,
  format: Format,
  fields: string[],
): void {
  fields.push('etag', etag)
  if (matchesEtag(headers['if-none-match'], etag)) {
    response.writeHead(304, fields).end()
    return
  }
  fields.push('content-type', CONTENT_TYPE[format], 'content-length', String(length))
  if (gzipped) fields.push('content-encoding', 'gzip')
  response.writeHead(200, fields).end(body, encoding)
}
