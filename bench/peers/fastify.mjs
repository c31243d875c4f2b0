/** Fastify without plugins, hooks or logger: the fixed answer, sent the way its guide sends answers. */
import fastify from 'fastify'
import { gzipped, headers, plain } from './fixed-answer.mjs'

const app = fastify({ logger: false })
app.get('/search/2/chargingAvailability.:ext', (request, reply) => {
  reply.headers(headers)
  if (request.headers['if-none-match'] !== undefined) return reply.code(304).send()
  if (request.headers['accept-encoding'] === 'gzip') {
    return reply.header('content-encoding', 'gzip').send(gzipped)
  }
  return reply.send(plain)
})
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
