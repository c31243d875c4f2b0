import type { Socket } from 'node:net'
import compress from '@fastify/compress'
import cors from '@fastify/cors'
import type { FastifyInstance } from 'fastify'
import fastify from 'fastify'
import type { Format } from '../availability/model.ts'
import type { Cache } from '../cache/cache.ts'
import { ServiceError } from '../errors.ts'
import type { Observer, RequestResult } from '../events.ts'
import type { AdmissionOptions, AdmissionDeps } from './admission.ts'
import { registerAdmission } from './admission.ts'
import { NO_SCHEMA_COMPILERS } from '../lib/fastify-options.ts'
import { availabilityRoute, isAvailabilityPath } from './availability-route.ts'
import { initRequest } from './request-context.ts'
import type { CorsOrigins } from './cors.ts'
import { corsOptions } from './cors.ts'
import { docsRoutes, isDocsPath } from './docs-routes.ts'
import { createProtocolErrorHandlers } from './protocol-errors.ts'
import { limitConcurrency } from './concurrency-limit.ts'
import { ClientDisconnectedError } from './client-disconnect.ts'
import { isServicePath, serviceRoutes } from './service-routes.ts'
import { sendError } from './error-handler.ts'
import type { LogRequest } from './request-log.ts'
import { createRequestLogger } from './request-log.ts'
import { validateRequest } from './validate-request.ts'
import { originForm } from './request-target.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's own or a fresh one; never that of another call. */
    trackingId: string
    /** The id asked for, once it has passed validation. */
    station: string | null
    /** What the metrics call this request by. */
    format: Format | 'none'
    result: RequestResult
    startedAt: number
    /** The client's name, where clients have keys and this one was right. */
    client: string | null
    /** What the limits of a client tell it from others by. */
    limitedAs: string
  }
}

export interface PublicServerOptions extends AdmissionOptions {
  readonly corsOrigins: CorsOrigins
  readonly accessLog: boolean
  /** The text of openapi.yaml, served as it is. */
  readonly openapi: string
  /** Whether the API reference is served at /docs. */
  readonly docs: boolean
  /** While true, every answer ends its connection, so that clients move to another replica. */
  readonly isDraining: () => boolean
  /** Addresses and networks (CIDR) whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[]
}

export interface PublicServerDeps extends AdmissionDeps {
  readonly cache: Pick<Cache, 'get' | 'inFlight'>
  readonly observer: Observer
}

/** Time for a client to send its whole request, and its headers; a connection that drips is ended. */
const REQUEST_TIMEOUT_MS = 30_000
const HEADERS_TIMEOUT_MS = 10_000
/** Longer than load balancers keep idle connections (60 s as a rule), so that it is they who close. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000

/** Openapi.yaml's type is in no table of what is worth compressing. */
const COMPRESSIBLE = /^(text\/|application\/(json|xml|yaml))/

/** The door: Fastify in, Fastify out. Every answer leaves by it in the documented shape, with CORS headers. */
export async function createPublicServer(
  options: PublicServerOptions,
  parts: PublicServerDeps,
): Promise<FastifyInstance> {
  const { observer } = parts
  const early = createProtocolErrorHandlers(options, observer)
  const app = fastify({
    ...NO_SCHEMA_COMPILERS,
    logger: false,
    trustProxy: options.trustedProxies.length > 0 && [...options.trustedProxies],
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
    rewriteUrl: ({ url = '/' }) => originForm(url),
    clientErrorHandler: early.onClientError,
    frameworkErrors: (_error, request, reply) => {
      early.onUndecodableUrl(request.raw, reply.raw)
    },
  })
  app.server.on('connect', (request, socket: Socket) => early.onConnect(request, socket))
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))

  app.decorateRequest('trackingId', '')
  app.decorateRequest('station', null)
  app.decorateRequest('format', 'none')
  app.decorateRequest('result', 'none')
  app.decorateRequest('startedAt', 0)
  app.decorateRequest('client', null)
  app.decorateRequest('limitedAs', '')
  const report = createRequestLogger(observer, options.accessLog)
  await app.register(async (scope) => {
    await registerAdmission(scope, options, parts)
    availabilityRoute(scope, options, {
      cacheGet: limitConcurrency(options.maxInFlight, parts),
      logRequest: report,
    })
    scope.setErrorHandler((thrown, request, reply) => {
      sendError(thrown, request, reply, options, observer)
      if (!(thrown instanceof ClientDisconnectedError)) report(request, reply)
    })
  })
  await app.register(async (scope) => {
    await everythingElse(scope, options, report)
    scope.setErrorHandler((thrown, request, reply) => sendError(thrown, request, reply, options, observer))
  })
  return app
}

/** The service's own routes and all that is no route; here the framework and its plugins do the work. */
async function everythingElse(
  scope: FastifyInstance,
  options: PublicServerOptions,
  report: LogRequest,
): Promise<void> {
  const isPath = (target: string) =>
    isAvailabilityPath(target) || isServicePath(target) || (options.docs && isDocsPath(target))
  scope.addHook('onRequest', (request, reply, done) => {
    initRequest(request)
    if (options.isDraining()) reply.header('connection', 'close')
    reply.headers({
      'tracking-id': request.trackingId,
      'x-content-type-options': 'nosniff',
      vary: 'Accept-Encoding',
    })
    done()
  })
  await scope.register(cors, corsOptions(options.corsOrigins))
  await scope.register(compress, { encodings: ['gzip'], customTypes: COMPRESSIBLE })
  scope.addHook('onRequest', (request, reply, done) => {
    validateRequest(request.raw, reply.raw)
    // Here rather than in the handler, which runs only once the body has been read and has been found to be of use.
    if (request.is404) throw new ServiceError(isPath(request.url) ? 'MethodNotAllowed' : 'NotFound')
    done()
  })
  scope.addHook('onResponse', (request, reply, done) => {
    report(request, reply)
    done()
  })
  serviceRoutes(scope, options.openapi)
  if (options.docs) docsRoutes(scope)
  scope.setNotFoundHandler(() => {
    throw new ServiceError('NotFound')
  })
}
