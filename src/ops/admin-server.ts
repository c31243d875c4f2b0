import type { FastifyInstance } from 'fastify'
import fastify from 'fastify'
import type { CircuitState } from '../observer.ts'
import { SCHEMALESS } from '../schemaless.ts'
import type { Health } from './health.ts'
import type { Metrics } from './metrics.ts'
import type { StatusRouteParts } from './status-routes.ts'
import { statusRoutes } from './status-routes.ts'

export interface AdminParts extends StatusRouteParts {
  readonly health: Health
  readonly metrics: Metrics
  /** A detail of /readyz: upstream's health is no condition of being ready. */
  readonly circuit: () => CircuitState
}

/** The listener for those who run the service: probes, metrics and the status page, nothing for clients. */
export function adminServer({ health, metrics, circuit, ...status }: AdminParts): FastifyInstance {
  const app = fastify({ ...SCHEMALESS, logger: false, bodyLimit: 1024, return503OnClosing: false })

  app.get('/livez', async () => ({ status: 'ok' }))

  app.get('/readyz', async (_request, reply) =>
    reply.code(health.ready ? 200 : 503).send({ status: health.phase, upstream: { circuit: circuit() } }),
  )

  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()))

  statusRoutes(app, status)

  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ status: 'not found' }))
  return app
}
