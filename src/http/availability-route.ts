import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Format } from '../availability/model.ts'
import type { LookupResult } from '../cache/cache.ts'
import { invalidParameter, ServiceError } from '../errors.ts'
import { Turns } from '../lib/turns.ts'
import type { Admit } from './admission.ts'
import type { Asked, ResponseOptions } from './availability-response.ts'
import { createResponseWriter, isLong, renderingFor } from './availability-response.ts'
import { abortOnDisconnect } from './client-disconnect.ts'
import type { CacheGet } from './concurrency-limit.ts'
import type { Hold } from './live/long-poll.ts'
import { preferredWaitS } from './live/long-poll.ts'
import { extensionOf } from './paths.ts'
import type { QueryCache } from './query-cache.ts'
import type { RawQuery } from './request-context.ts'
import { initRequest } from './request-context.ts'
import type { LogRequest } from './request-log.ts'
import { matchesEtag } from './response-headers.ts'
import { validateRequest } from './validate-request.ts'

/** The proxied route; the format is a parameter, so that an unknown one is a 400 and not a 404. */
const ROUTE = '/search/2/chargingAvailability.:ext'

export interface RouteDeps {
  /** Null: every client is admitted. */
  readonly admit: Admit | null
  readonly cacheGet: CacheGet
  /** The call in flight for a station, undefined without one. */
  readonly inFlight: (id: string) => unknown
  readonly queries: QueryCache
  readonly logRequest: LogRequest
  readonly hold: Hold
}

/**
 * Registers `GET /search/2/chargingAvailability.{json|xml}`. A hit runs no hook and creates no promise: both would
 * cost more than the lookup (bench/parts/hot-path.mjs). So admission is a call here, and `send` is used as the
 * continuation of a promise only if the cache returned one.
 */
export function availabilityRoute(app: FastifyInstance, options: ResponseOptions, deps: RouteDeps): void {
  const { admit, cacheGet, inFlight, queries, hold } = deps
  const turns = new Turns()
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
    const waitS = preferredWaitS(request.raw.headers.prefer)
    if (waitS === null && !(found instanceof Promise) && !isLong(found.answer))
      return send(request, reply, { result: found, query, format })
    const later = turns.wait(Promise.resolve(found), request.raw.socket)
    if (waitS === null) return later.then((result) => send(request, reply, { result, query, format }))
    const held = holdBack(request, reply, { found: later, query, format, seconds: waitS, hold })
    return held.then((last) => send(request, reply, last))
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

interface Found extends Asked {
  readonly result: LookupResult
  /** The seconds of a wait that was applied. */
  readonly waitS?: number
}

interface HoldBackParts extends Asked {
  readonly found: Promise<LookupResult>
  readonly seconds: number
  readonly hold: Hold
}

/** `Prefer: wait=N` with an entity tag that matches: the answer as soon as another tag belongs to it, or after N seconds. */
async function holdBack(
  request: FastifyRequest<RawQuery>,
  reply: FastifyReply,
  { found, query, format, seconds, hold }: HoldBackParts,
): Promise<Found> {
  const { headers } = request.raw
  const result = await found
  const first = { result, query, format }
  const { etag } = renderingFor(headers, result.answer, first)
  if (!matchesEtag(headers['if-none-match'], etag)) return first
  const isKnown = ({ answer }: Pick<LookupResult, 'answer'>) =>
    renderingFor(headers, answer, first).etag === etag
  const current = await hold({ request, reply, station: query.id, seconds, isKnown })
  if (current === undefined) return first
  const now = { ...result, ...current, result: 'hit', staleReason: null } as const
  return { ...first, result: current === null ? result : now, waitS: seconds }
}

function createResponder(options: ResponseOptions, logRequest: LogRequest) {
  const write = createResponseWriter(options)
  return (request: FastifyRequest, reply: FastifyReply, found: Found): void => {
    const { result, format, waitS } = found
    const { trackingId } = request
    request.result = result.result
    // Before hijack, so that an error of it gets a response.
    const rendering = renderingFor(request.raw.headers, result.answer, found)
    write(reply.hijack().raw, {
      result,
      rendering,
      format,
      trackingId,
      ...(waitS !== undefined && { waitS }),
    })
    logRequest(request, reply)
  }
}
