import type { FastifyInstance } from 'fastify'
import { pathOf } from './request-target.ts'

const PATHS = new Set(['/healthz', '/openapi.yaml'])

/** Whether a target names what the public listener serves beside the mirrored route and the API reference. */
export function isServicePath(target: string): boolean {
  return PATHS.has(pathOf(target))
}

/** What the public listener serves beside the mirrored route. */
export function serviceRoutes(app: FastifyInstance, openapi: string): void {
  app.get('/healthz', { exposeHeadRoute: true }, async () => ({ status: 'ok' }))

  app.get('/openapi.yaml', { exposeHeadRoute: true }, async (_request, reply) =>
    reply.type('application/yaml; charset=utf-8').send(openapi),
  )
}
