import type { FastifyInstance } from 'fastify'

/** What the public listener serves beside the mirrored route. */
export function ownRoutes(app: FastifyInstance, openapi: string): void {
  app.get('/healthz', { exposeHeadRoute: true }, async () => ({ status: 'ok' }))

  app.get('/openapi.yaml', { exposeHeadRoute: true }, async (_request, reply) =>
    reply.type('application/yaml; charset=utf-8').send(openapi),
  )
}
