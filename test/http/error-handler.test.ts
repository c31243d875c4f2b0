import t from 'tap'
import { ServiceError } from '../../src/errors.ts'
import type { RequestFailure } from '../../src/events.ts'
import { errorResponseProblems } from '../support/error-response.ts'
import { pathFor } from '../support/request.ts'
import { cacheWith, createTestServer } from './public-server.ts'

/** The response to a lookup that throws, and the failures that the observer gets. */
async function respondTo(t: Parameters<typeof createTestServer>[0], thrown: unknown, accept = 'json') {
  const failures: RequestFailure[] = []
  const { app } = await createTestServer(
    t,
    {},
    {
      cache: cacheWith(() => Promise.reject(thrown)),
      listener: { requestFailed: (failure) => void failures.push(failure) },
    },
  )
  const { statusCode, headers, body } = await app.inject({
    url: pathFor('chargingAvailability=a', accept),
    headers: { host: 'x', 'tracking-id': 'mine' },
  })
  const response = { status: statusCode, headers: headers as Record<string, string>, text: body }
  return { response, failures }
}

await t.test('an unknown error is a 500 whose cause is reported and not sent', async (t) => {
  const thrown = new TypeError('secret')
  const { response, failures } = await respondTo(t, thrown)
  t.strictSame(errorResponseProblems(response, { status: 500, code: 'InternalError' }), [])
  t.notMatch(response.text, 'secret')
  t.strictSame(failures, [
    {
      trackingId: 'mine',
      station: 'a',
      code: 'InternalError',
      status: 500,
      reason: 'unexpected error',
      cause: thrown,
    },
  ])
})

await t.test('a ServiceError keeps its code, and its reason is reported and not sent', async (t) => {
  const thrown = new ServiceError('UpstreamFailed', { reason: 'secret' })
  const { response, failures } = await respondTo(t, thrown, 'xml')
  t.strictSame(errorResponseProblems(response, { status: 502, code: 'UpstreamFailed', format: 'xml' }), [])
  t.notMatch(response.text, 'secret')
  t.match(failures, [{ code: 'UpstreamFailed', reason: 'secret' }])
})

await t.test('an error of Fastify with a 4xx status is a 400', async (t) => {
  const thrown = Object.assign(new Error('secret'), { statusCode: 422 })
  const { response } = await respondTo(t, thrown)
  t.strictSame(errorResponseProblems(response, { status: 400, code: 'InvalidParameter' }), [])
  t.notMatch(response.text, 'secret')
})
