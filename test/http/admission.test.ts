import type { AddressInfo } from 'node:net'
import t from 'tap'
import { FixedWindowLimiter } from '../../src/http/admission.ts'
import { TestClock } from '../support/clock.ts'
import { pathFor, request } from '../support/request.ts'
import { createTestServer } from './public-server.ts'

await t.test('a request is validated once, with and without admission', async (t) => {
  const validations = async (options: { perSecond: number }) => {
    let count = 0
    const { app } = await createTestServer(t, options)
    // validateRequest reads this header of every request, and nothing else does.
    app.server.prependListener('request', ({ headers }) => {
      Object.defineProperty(headers, 'upgrade', {
        get: () => {
          count++
        },
      })
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.server.address() as AddressInfo
    const { status } = await request(`http://127.0.0.1:${port}`, pathFor('chargingAvailability=a'))
    return { status, count }
  }
  t.strictSame(await validations({ perSecond: 0 }), { status: 200, count: 1 })
  t.strictSame(await validations({ perSecond: 5 }), { status: 200, count: 1 })
})

await t.test('a malformed request is rejected before its key is checked', async (t) => {
  const identified: (string | null)[] = []
  const listener = { clientIdentified: (name: string | null) => void identified.push(name) }
  const { app } = await createTestServer(t, {}, { clients: { nameOf: () => null }, listener })
  const { statusCode } = await app.inject({
    url: pathFor('chargingAvailability=a'),
    headers: { host: 'x', 'content-length': '1' },
    payload: 'x',
  })
  t.equal(statusCode, 400)
  t.strictSame(identified, [])
})

await t.test('FixedWindowLimiter', async (t) => {
  await t.test('a window begins with its first request and ends after a second', async (t) => {
    const clock = new TestClock()
    const limiter = new FixedWindowLimiter(2, clock)
    const results = [limiter.count('a'), limiter.count('a'), limiter.count('a')]
    await clock.advance(400)
    results.push(limiter.count('a'))
    await clock.advance(600)
    results.push(limiter.count('a'))
    t.strictSame(results, [null, null, 1_000, 600, null])
  })

  await t.test('clients are counted separately', async (t) => {
    const limiter = new FixedWindowLimiter(1, new TestClock())
    t.strictSame([limiter.count('a'), limiter.count('b'), limiter.count('a')], [null, null, 1_000])
  })
})
