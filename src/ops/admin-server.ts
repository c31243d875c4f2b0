import type { FastifyInstance, FastifyReply } from 'fastify'
import fastify from 'fastify'
import { asServiceError, malformedRequest, ServiceError } from '../errors.ts'
import type { CircuitState } from '../events.ts'
import { NO_SCHEMA_COMPILERS } from '../lib/fastify-options.ts'
import { httpServer } from '../lib/http-server.ts'
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
    serverFactory: httpServer({ waiting: null, onOverload: () => {} }),
    clientErrorHandler: (error, socket) => {
      const isSilent = error.code === TIMED_OUT && socket.bytesRead === 0
      if (isSilent || !socket.writable) socket.destroy()
      else socket.end(emptyResponse(error.code === TIMED_OUT ? '408 Request Timeout' : '400 Bad Request'))
    },
  })

  app.get('/livez', async () => ({ status: 'ok' }))

  app.get('/readyz', async (_request, reply) =>
    reply.code(health.ready ? 200 : 503).send({ status: health.phase, upstream: { circuit: circuit() } }),
  )

  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()))

  statusRoutes(app, status)

  app.addHook('onSend', (_request, reply, _payload, done) => {
    reply.header('x-content-type-options', 'nosniff')
    done()
  })
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
  return app
}

function emptyResponse(status: string): string {
  return `HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
}

/** The shape of the public listener's errors. */
function sendError(reply: FastifyReply, { code, message, detail, status }: ServiceError): FastifyReply {
  const body = { message, detailedError: { code, message: detail }, httpStatusCode: String(status) }
  return reply.code(status).send(body)
}
