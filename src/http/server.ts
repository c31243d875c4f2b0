import type { IncomingMessage } from 'node:http'
import compress from '@fastify/compress'
import cors from '@fastify/cors'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fastify from 'fastify'
import type { Cache } from '../cache/cache.ts'
import { asServiceError, malformedRequest, ServiceError } from '../errors.ts'
import type { Access, Observer, RequestResult } from '../observer.ts'
import { availabilityRoute, isAvailabilityPath } from './availability-route.ts'
import type { CorsOrigins } from './cors.ts'
import { corsOptions } from './cors.ts'
import { earlyAnswers } from './early-answers.ts'
import { ClientLeft } from './leaving.ts'
import { ownRoutes } from './own-routes.ts'
import type { Format } from './problem.ts'
import { CONTENT_TYPE, errorFormat, problemHeaders, renderProblem } from './problem.ts'
import { checkRequest } from './request-rules.ts'
import { traceIdOf } from './trace-context.ts'
import { trackingIdOf } from './tracking-id.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's own or a fresh one; never that of another call. */
    trackingId: string
    /** Of the caller's trace; null without one. */
    traceId: string | null
    /** The id asked for, once it has passed validation. */
    station: string | null
    /** What the metrics call this request by. */
    format: Format | 'none'
    result: RequestResult
    startedAt: number
  }
}

export interface PublicServerOptions {
  readonly corsOrigins: CorsOrigins
  readonly accessLog: boolean
  /** The text of openapi.yaml, served as it is. */
  readonly openapi: string
  /** While true, every answer ends its connection, so that clients move to another replica. */
  readonly isDraining: () => boolean
}

export interface PublicServerParts {
  readonly cache: Pick<Cache, 'get'>
  readonly observer: Observer
}

/** Time for a client to send its whole request, and its headers; a connection that drips is ended. */
const REQUEST_TIMEOUT_MS = 30_000
const HEADERS_TIMEOUT_MS = 10_000
/** Longer than load balancers keep idle connections (60 s as a rule), so that it is they who close. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000

/** The door: Fastify in, Fastify out. Every answer leaves by it in the documented shape, with CORS headers. */
export async function publicServer(
  options: PublicServerOptions,
  parts: PublicServerParts,
): Promise<FastifyInstance> {
  const { corsOrigins } = options
  const early = earlyAnswers(corsOrigins, parts.observer)
  const app = fastify({
    logger: false,
    bodyLimit: 1024,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: 5_000,
      requireHostHeader: false,
    },
    // A path's ending may be as long as the parser lets it be, and still is a wrong format rather than no route.
    routerOptions: { maxParamLength: 65_536, querystringParser: (raw) => ({ raw }) },
    rewriteUrl: targetPath,
    clientErrorHandler: early.refuseBytes,
    frameworkErrors: (_error, request, reply) => {
      early.refuseTarget(request.raw, reply.raw)
    },
  })
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))

  app.decorateRequest('trackingId', '')
  app.decorateRequest('traceId', null)
  app.decorateRequest('station', null)
  app.decorateRequest('format', 'none')
  app.decorateRequest('result', 'none')
  app.decorateRequest('startedAt', 0)
  app.addHook('onRequest', async (request, reply) => {
    request.startedAt = performance.now()
    request.trackingId = trackingIdOf(request.headers['tracking-id'])
    request.traceId = traceIdOf(request.headers['traceparent'])
    if (options.isDraining()) reply.header('connection', 'close')
    reply.headers({
      'tracking-id': request.trackingId,
      'x-content-type-options': 'nosniff',
      vary: 'Accept-Encoding',
    })
  })
  await app.register(cors, corsOptions(corsOrigins))
  await app.register(compress, { encodings: ['gzip'] })
  app.addHook('onRequest', async (request) => {
    checkRequest(request.raw)
    if (request.is404) {
      throw new ServiceError(isAvailabilityPath(request.url) ? 'MethodNotAllowed' : 'NotFound')
    }
  })
  report(app, options.accessLog, parts.observer)

  availabilityRoute(app, parts.cache)
  ownRoutes(app, options.openapi)
  app.setErrorHandler((thrown, request, reply) => refuse(thrown, request, reply, parts.observer))
  return app
}

/** Tells the observer of every answer, once it has left. */
function report(app: FastifyInstance, accessLog: boolean, observer: Observer): void {
  app.addHook('onResponse', async (request, reply) => {
    const { method, format, result } = request
    const { statusCode: status } = reply
    const ms = performance.now() - request.startedAt
    observer.requestAnswered(format, status, result, ms / 1000)
    if (accessLog) {
      observer.accessed({ ...marksOf(request), method, path: pathOf(request.url), status, result, ms })
    }
  })
}

/** What a request is found by in the log. */
function marksOf({ trackingId, traceId }: FastifyRequest): Pick<Access, 'trackingId' | 'traceId'> {
  return { trackingId, ...(traceId !== null && { traceId }) }
}

/** Any error, as the documented answer; what it tells of the inside goes to the observer alone. */
function refuse(thrown: unknown, request: FastifyRequest, reply: FastifyReply, observer: Observer): void {
  if (thrown instanceof ClientLeft) {
    reply.hijack()
    return
  }
  const error = refusalOf(thrown)
  const format = errorFormat(request.url)
  if (isAvailabilityPath(request.url)) request.format = format
  const { code, status, reason = error.detail, cause } = error
  const station = request.station === null ? {} : { station: request.station }
  observer.requestFailed({ ...marksOf(request), ...station, code, status, reason, cause })
  reply
    .code(status)
    .headers({ ...problemHeaders(error), 'content-type': CONTENT_TYPE[format] })
    .send(renderProblem(error, format))
}

/** Fastify's own errors about a request blame the request; whatever else is not ours by name is our fault. */
function refusalOf(thrown: unknown): ServiceError {
  const { statusCode } = thrown as { statusCode?: unknown }
  const blamesRequest = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
  return blamesRequest ? malformedRequest('The request is not valid') : asServiceError(thrown)
}

/** The target in origin form; a proxy-style absolute one (RFC 9112, 3.2.2) counts by its path alone. */
function targetPath({ url = '/' }: IncomingMessage): string {
  const target = url.replace(/^https?:\/\/[^/?#]*/i, '')
  return target.startsWith('/') ? target : `/${target}`
}

function pathOf(url: string): string {
  return url.split('?', 1)[0] ?? ''
}
