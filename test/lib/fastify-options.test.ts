import fastify from 'fastify'
import t from 'tap'
import { NO_SCHEMA_COMPILERS } from '../../src/lib/fastify-options.ts'

await t.test('a route without a schema is served', async (t) => {
  const app = fastify(NO_SCHEMA_COMPILERS)
  t.teardown(() => app.close())
  app.get('/', () => 'ok')
  t.equal((await app.inject('/')).body, 'ok')
})

await t.test('a route with a schema fails at registration', async (t) => {
  const app = fastify(NO_SCHEMA_COMPILERS)
  t.teardown(() => app.close())
  app.get('/', { schema: { querystring: { type: 'object' } } }, () => 'ok')
  await t.rejects(async () => app.ready(), { message: /Routes of this service have no schemas/ })
})
