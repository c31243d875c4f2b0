import type { FastifyInstance, FastifyReply } from 'fastify'
import fastify from 'fastify'
import { asServiceError, errorJson, malformedRequest, protocolError, ServiceError } from '../errors.ts'
import type { CircuitState } from '../events.ts'
import { NO_SCHEMA_COMPILERS } from '../lib/fastify-options.ts'
import { httpServer } from '../lib/http-server.ts'
import { rawResponse } from '../lib/raw-response.ts'
import type { Health } from './health.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { StatusRouteDeps } from './status/status-routes.ts'
import { statusRoutes } from './status/status-routes.ts'

export interface AdminServerDeps extends StatusRouteDeps {
  readonly health: Health
  readonly metrics: Metrics
  /** Shown by /readyz as a detail; readiness does not depend on it. */
  readonly circuit: () => CircuitState
}

const METHODS = ['GET', 'HEAD', 'POST', 'DELETE'] as const
const TIMED_OUT = 'ERR_HTTP_REQUEST_TIMEOUT'

/** The admin listener: probes, metrics and the status page. It serves no availability. */
export function createAdminServer({ health, metrics, circuit, ...status }: AdminServerDeps): FastifyInstance {
  const app = fastify({
    ...NO_SCHEMA_COMPILERS,
    logger: false,
    bodyLimit: 1024,
    return503OnClosing: false,
    serverFactory: httpServer({ waiting: null, onOverload: () => {}, onOverloadEnd: () => {} }),
    clientErrorHandler: (error, socket) => {
      const isSilent = error.code === TIMED_OUT && socket.bytesRead === 0
      if (isSilent || !socket.writable) socket.destroy()
      else socket.end(responseTo(protocolError(error)))
    },
    frameworkErrors: (_error, _request, reply) => {
      void sendError(reply, malformedRequest('The target of the request cannot be decoded'))
    },
  })

  app.get('/livez', async () => ({ status: 'ok' }))

  app.get('/readyz', async (_request, reply) =>
    reply.code(health.ready ? 200 : 503).send({ status: health.phase, upstream: { circuit: circuit() } }),
  )

  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()))

  statusRoutes(app, status)

  app.addHook('onRequest', ({ raw }, _reply, done) => {
    if (raw.httpVersionMajor !== 1) throw malformedRequest('The version of HTTP must be 1.0 or 1.1')
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    reply.header('x-content-type-options', 'nosniff')
    done()
  })
  handleErrors(app)
  return app
}

function handleErrors(app: FastifyInstance): void {
  app.setNotFoundHandler(({ url }, reply) => {
    const path = url.replace(/\?.*/s, '')
    const allowed = METHODS.filter((method) => app.hasRoute({ method, url: path }))
    if (allowed.length === 0) return sendError(reply, new ServiceError('NotFound'))
    return sendError(reply.header('allow', allowed.join(', ')), new ServiceError('MethodNotAllowed'))
  })
  app.setErrorHandler((thrown, _request, reply) => {
    const { statusCode } = thrown as { statusCode?: number }
    const isClientError = statusCode !== undefined && statusCode >= 400 && statusCode < 500
    return sendError(
      reply,
      isClientError ? malformedRequest('The request is not valid') : asServiceError(thrown),
    )
  })
}

function sendError(reply: FastifyReply, error: ServiceError): FastifyReply {
  return reply.code(error.status).headers(ERROR_HEADERS).send(errorJson(error))
}

const ERROR_HEADERS = {
  'content-type': 'application/json; charset=utf-8',
  'x-content-type-options': 'nosniff',
}

/** A whole response to bytes that are no request. */
function responseTo(error: ServiceError): string {
  const body = errorJson(error)
  const length = String(Buffer.byteLength(body))
  return rawResponse(error.status, { ...ERROR_HEADERS, 'content-length': length, connection: 'close' }, body)
}
