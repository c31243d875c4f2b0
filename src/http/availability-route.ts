import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Filter } from '../availability/query.ts'
import { parseQuery } from '../availability/query.ts'
import type { Cache, Found } from '../cache/cache.ts'
import { invalidParameter } from '../errors.ts'
import { cacheStatus } from './cache-status.ts'
import { matchesEtag } from './conditional.ts'
import { wantsGzip } from './content-coding.ts'
import { leaving } from './leaving.ts'
import type { Format } from './problem.ts'
import { CONTENT_TYPE } from './problem.ts'

/** The mirrored route; what follows the dot is the format, which a client may get wrong. */
const ROUTE = '/search/2/chargingAvailability.:ext'
const PATH = /^\/search\/2\/chargingAvailability\.[^/?]*(?:$|\?)/

/** Whether a target names the mirrored resource, in whatever format. */
export function isAvailabilityPath(target: string): boolean {
  return PATH.test(target)
}

/** The query as it came: its rules are ours, not those of the framework's parser. */
export interface RawQuery {
  readonly raw: string
}

interface Mirrored {
  Params: { ext: string }
  Querystring: RawQuery
}

/** Registers `GET /search/2/chargingAvailability.{json|xml}`. */
export function availabilityRoute(app: FastifyInstance, cache: Pick<Cache, 'get'>): void {
  app.get<Mirrored>(ROUTE, { compress: false }, async (request, reply) => {
    const format = formatOf(request.params.ext)
    request.format = format
    const query = parseQuery(request.query.raw)
    request.station = query.id
    request.result = 'error' // until something is found
    const found = await cache.get(query.id, () => leaving(reply))
    request.result = found.result
    return answer(request, reply, found, query, format)
  })
}

/** @throws ServiceError InvalidParameter for anything but exactly `json` or `xml` */
function formatOf(ext: string): Format {
  if (ext === 'json' || ext === 'xml') return ext
  throw invalidParameter('ext', "must be 'json' or 'xml'")
}

/** 200 with the rendering, or 304 to a client that holds it already (RFC 9110, 15.4.5). */
function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  found: Found,
  filter: Filter,
  format: Format,
): FastifyReply {
  const rendering = renderingFor(request, found, filter, format)
  reply.headers({
    'cache-control': 'no-cache',
    etag: rendering.etag,
    age: String(Math.floor(found.ageMs / 1000)),
    'cache-status': cacheStatus(found),
  })
  if (matchesEtag(request.headers['if-none-match'], rendering.etag)) return reply.code(304).send()
  if (rendering.gzipped) reply.header('content-encoding', 'gzip')
  return reply
    .headers({ 'content-type': CONTENT_TYPE[format], 'content-length': rendering.length })
    .send(rendering.body)
}

function renderingFor(request: FastifyRequest, { answer }: Found, filter: Filter, format: Format) {
  const plain = answer.render(filter, format, false)
  return wantsGzip(request.headers['accept-encoding'], plain.length)
    ? answer.render(filter, format, true)
    : plain
}
