import type { FastifyRequest } from 'fastify'
import { trackingIdOf } from './tracking-id.ts'

/** What every answer needs, an error's too. Whoever meets the request first begins it; again changes nothing. */
export function initRequest(request: FastifyRequest): void {
  if (request.startedAt !== 0) return
  request.startedAt = performance.now()
  request.trackingId = trackingIdOf(request.raw.headers['tracking-id'])
}
