import type { Socket } from 'node:net'
import compress from '@fastify/compress'
import cors from '@fastify/cors'
import type { FastifyInstance } from 'fastify'
import fastify from 'fastify'
import type { Cache } from '../cache/cache.ts'
import { ServiceError } from '../errors.ts'
import type { Observer } from '../events.ts'
import { CLIENT_LEFT } from '../events.ts'
import type { ByteBudget } from '../lib/byte-budget.ts'
import type { Clock } from '../lib/clock.ts'
import { isLastResponse } from '../lib/connection.ts'
import { NO_SCHEMA_COMPILERS } from '../lib/fastify-options.ts'
import type { HttpServerOptions } from '../lib/http-server.ts'
import { httpServer } from '../lib/http-server.ts'
import type { AdmissionDeps, AdmissionOptions } from './admission.ts'
import { createAdmission } from './admission.ts'
import type { ResponseOptions } from './availability-response.ts'
import type { RouteDeps } from './availability-route.ts'
import { availabilityRoute } from './availability-route.ts'
import type { AddressDetail } from './client-address.ts'
import type { BatchDeps, BatchOptions } from './batch/batch-route.ts'
import { batchRoute } from './batch/batch-route.ts'
import { ClientDisconnectedError } from './client-disconnect.ts'
import type { CacheGet } from './concurrency-limit.ts'
import { limitConcurrency } from './concurrency-limit.ts'
import { corsOptions } from './cors.ts'
import type { SendError } from './error-handler.ts'
import { createErrorHandler } from './error-handler.ts'
import { createHitListener } from './hit-listener.ts'
import type { EventsDeps, Live } from './live/events-route.ts'
import { eventsRoute } from './live/events-route.ts'
import type { LongPollDeps } from './live/long-poll.ts'
import { createHold } from './live/long-poll.ts'
import { isAvailabilityPath, isBatchPath, isEventsPath, methodsOfPreflight } from './paths.ts'
import type { ProtocolErrorHandlers } from './protocol-errors.ts'
import { createProtocolErrorHandlers } from './protocol-errors.ts'
import { QueryCache } from './query-cache.ts'
import { decorateRequests, initRequest } from './request-context.ts'
import type { LogRequest } from './request-log.ts'
import { createRequestLogger } from './request-log.ts'
import { originForm, withoutBasePath } from './request-target.ts'
import type { ServiceRoutesOptions } from './service-routes.ts'
import { isServicePath, serviceRoutes } from './service-routes.ts'
import { validateRequest } from './validate-request.ts'

export interface PublicServerOptions
  extends AdmissionOptions, ResponseOptions, ServiceRoutesOptions, BatchOptions {
  readonly accessLog: boolean
  readonly addressDetail: AddressDetail
  /** Addresses and networks (CIDR) whose X-Forwarded-For is trusted. */
  readonly trustedProxies: readonly string[]
  /** Prefix of all paths without a trailing slash; empty for none. */
  readonly basePath: string
}

export interface PublicServerDeps extends AdmissionDeps {
  readonly cache: Pick<Cache, 'get' | 'inFlight' | 'fresh' | 'hit'>
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly observer: Observer
  /** What requests that wait behind others may take; no bound if absent. */
  readonly waiting?: ByteBudget
  readonly live: Live
}

/** Distinct filters and keys whose parsed form is cached, for all stations together. */
const MAX_CACHED_FILTERS = 5_000

/** The public listener. Every response has the documented shape and the CORS headers. */
export async function createPublicServer(
  options: PublicServerOptions,
  deps: PublicServerDeps,
): Promise<FastifyInstance> {
  const { cache, observer, live } = deps
  const admit = await createAdmission(options, deps)
  const queries = new QueryCache(MAX_CACHED_FILTERS)
  // Admission and the access log take the client from the framework's request.
  const needsClient = admit !== null || options.accessLog
  const app = createFastify(options, {
    ...createProtocolErrorHandlers(options, observer),
    waiting: deps.waiting ?? null,
    answerFirst: needsClient ? undefined : createHitListener(options, { ...deps, queries }),
  })
  decorateRequests(app)
  const parts = {
    ...deps,
    ...live,
    admit,
    queries,
    cacheGet: cacheGetFor(options, deps),
    inFlight: (id: string) => cache.inFlight(id),
    sendError: createErrorHandler(options, observer),
    logRequest: createRequestLogger(observer, options),
  }
  await app.register(async (scope) => registerStationRoutes(scope, options, parts))
  await app.register(async (scope) =>
    registerOtherRoutes(scope, options, { ...parts, hasEvents: live.streams.isEnabled }),
  )
  return app
}

function cacheGetFor({ maxInFlight }: PublicServerOptions, deps: PublicServerDeps): CacheGet {
  if (maxInFlight > 0) return limitConcurrency(maxInFlight, deps)
  return (id, onWait, client) => deps.cache.get(id, onWait, client)
}

function createFastify(
  { trustedProxies, basePath }: PublicServerOptions,
  { onClientError, onConnect, onUndecodableUrl, ...serverOptions }: ProtocolErrorHandlers & HttpServerOptions,
): FastifyInstance {
  const routed = withoutBasePath(basePath)
  const app = fastify({
    ...NO_SCHEMA_COMPILERS,
    logger: false,
    trustProxy: trustedProxies.length > 0 && [...trustedProxies],
    bodyLimit: 1024,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    serverFactory: httpServer(serverOptions),
    // A format of any length that the parser accepts is an unknown format (400), not an unknown route (404).
    routerOptions: { maxParamLength: 65_536, querystringParser: (raw) => ({ raw }) },
    rewriteUrl: ({ url = '/' }) => routed(originForm(url)),
    clientErrorHandler: onClientError,
    frameworkErrors: (_error, request, reply) => {
      onUndecodableUrl(request.raw, reply.raw)
    },
  })
  app.server.on('connect', (request, socket: Socket) => onConnect(request, socket))
  return app
}

type StationRoutesDeps = Omit<RouteDeps, 'hold'> &
  EventsDeps &
  LongPollDeps & { readonly sendError: SendError }

/** The routes without hooks and plugins: the proxied route and live updates. */
function registerStationRoutes(
  scope: FastifyInstance,
  options: PublicServerOptions,
  deps: StationRoutesDeps,
): void {
  const { streams, sendError, logRequest } = deps
  availabilityRoute(scope, options, { ...deps, hold: createHold(deps) })
  if (streams.isEnabled) eventsRoute(scope, options, deps)
  scope.setErrorHandler((thrown, request, reply) => {
    const hasLeft = thrown instanceof ClientDisconnectedError
    if (!hasLeft && request.result !== 'none') request.result = 'error'
    sendError(thrown, request, reply)
    logRequest(request, reply, hasLeft ? CLIENT_LEFT : reply.raw.statusCode)
  })
}

const ALLOW_METHODS = 'access-control-allow-methods'

/** @fastify/compress does not compress YAML by default. */
const COMPRESSIBLE = /^(text\/|application\/(json|xml|yaml))/
/** No route reads a compressed body. One that the plugin cannot decompress would lose its socket. */
const COMPRESSION = { encodings: ['gzip' as const], customTypes: COMPRESSIBLE, globalDecompression: false }

interface OtherRoutesDeps extends BatchDeps {
  readonly sendError: SendError
  /** Whether /events exists. */
  readonly hasEvents: boolean
  readonly logRequest: LogRequest
}

/** The service's routes, preflights, and 404 and 405 responses, with the framework's plugins. */
async function registerOtherRoutes(
  scope: FastifyInstance,
  options: PublicServerOptions,
  { sendError, logRequest, hasEvents, ...deps }: OtherRoutesDeps,
): Promise<void> {
  const isKnownPath = (target: string) =>
    isAvailabilityPath(target) ||
    isBatchPath(target) ||
    isServicePath(target, options) ||
    (hasEvents && isEventsPath(target))
  scope.setErrorHandler((thrown, request, reply) => {
    sendError(thrown, request, reply)
    if (thrown instanceof ClientDisconnectedError) logRequest(request, reply, CLIENT_LEFT) // nothing is sent
  })
  scope.addHook('onRequest', (request, reply, done) => {
    initRequest(request)
    validateRequest(request.raw, reply.raw) // preflights too
    reply.headers({
      'tracking-id': request.trackingId,
      'x-content-type-options': 'nosniff',
      vary: 'Accept-Encoding',
    })
    done()
  })
  scope.addHook('onSend', (_request, reply, _payload, done) => {
    if (options.isDraining() && isLastResponse(reply.raw)) reply.header('connection', 'close')
    done()
  })
  await scope.register(cors, corsOptions(options.corsOrigins))
  scope.addHook('onSend', ({ method, url }, reply, _payload, done) => {
    // The plugin has one list of methods for all paths; options per request would add Origin to every Vary.
    if (method === 'OPTIONS' && isBatchPath(url)) reply.header(ALLOW_METHODS, methodsOfPreflight(url))
    done()
  })
  await scope.register(compress, COMPRESSION)
  scope.addHook('onRequest', (request, _reply, done) => {
    // Not in the handler, which runs only after a body has been read and parsed.
    if (request.is404) throw new ServiceError(isKnownPath(request.url) ? 'MethodNotAllowed' : 'NotFound')
    done()
  })
  scope.addHook('onResponse', (request, reply, done) => {
    logRequest(request, reply)
    done()
  })
  serviceRoutes(scope, options)
  await scope.register(async (nested) => batchRoute(nested, options, deps))
  scope.setNotFoundHandler(() => {
    throw new ServiceError('NotFound')
  })
}
