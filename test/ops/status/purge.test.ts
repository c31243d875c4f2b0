import t from 'tap'
import { freePort } from '../../support/free-port.ts'
import { startService } from '../../support/service.ts'
import { until } from '../../support/until.ts'

const purge = { method: 'DELETE' }

await t.test('DELETE on the admin listener purges', async (t) => {
  const service = await startService(t)
  const { get, requestAdmin } = service
  const statusOf = async (path: string, options = {}) =>
    (await requestAdmin(path, { ...purge, ...options })).status
  const isHit = async (id: string) =>
    /; hit;/.test((await get(`chargingAvailability=${id}`)).headers['cache-status'] as string)

  await t.test('one station is purged, with 204 whether it was cached or not', async (t) => {
    await get('chargingAvailability=a%2Cb')
    await get('chargingAvailability=c')
    const response = await requestAdmin('/status/station?id=a%2Cb', purge)
    t.strictSame([response.status, response.body.length], [204, 0])
    t.strictSame([await isHit('a%2Cb'), await isHit('c')], [false, true])
    t.equal(await statusOf('/status/station?id=never'), 204)
  })

  await t.test('all stations are purged', async (t) => {
    await get('chargingAvailability=c')
    t.equal(await statusOf('/status/stations'), 204)
    t.equal(await isHit('c'), false)
  })

  await t.test('a purge without one id is a 400', async (t) => {
    const paths = [
      '/status/station',
      '/status/station?id=',
      '/status/station?id=a&id=b',
      '/status/station?ids=a',
    ]
    t.strictSame(await Promise.all(paths.map((path) => statusOf(path))), [400, 400, 400, 400])
    t.match(JSON.parse((await requestAdmin('/status/station', purge)).text), {
      message: "Missing parameter 'id'",
      detailedError: { code: 'MissingParameter' },
      httpStatusCode: '400',
    })
  })

  await t.test('a purge by a page of another site is a 403, and no origin is allowed', async (t) => {
    await get('chargingAvailability=c')
    const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
    t.strictSame(
      [await statusOf('/status/station?id=c', { headers }), await statusOf('/status/stations', { headers })],
      [403, 403],
    )
    t.equal(await isHit('c'), true)
    const sameOrigin = await requestAdmin('/status/stations', {
      ...purge,
      headers: { 'sec-fetch-site': 'same-origin' },
    })
    t.equal(sameOrigin.status, 204)
    t.equal(sameOrigin.headers['access-control-allow-origin'], undefined)
    t.equal((await requestAdmin('/status/stations', { method: 'OPTIONS', headers })).status, 405)
  })

  await t.test('the public listener purges nothing', async (t) => {
    await get('chargingAvailability=c')
    const response = await service.request('/status/stations', purge)
    t.equal(response.status, 404)
    t.equal(await isHit('c'), true)
  })
})

await t.test('a purged station with an open stream is refreshed at once', async (t) => {
  const { proxy, requestAdmin, upstream } = await startService(t, { env: { CACHE_TTL: '1h' } })
  const end = new AbortController()
  t.teardown(() => end.abort())
  await fetch(`${proxy.url}/events?chargingAvailability=watched`, { signal: end.signal })
  await until('it is loaded', () => upstream.calls.length === 1)
  t.equal((await requestAdmin('/status/station?id=watched', purge)).status, 204)
  await until('it is loaded again', () => upstream.calls.length === 2)
})

await t.test(
  'a purge that does not reach the shared cache is a 204, and is reported as pending',
  async (t) => {
    const service = await startService(t, { env: { REDIS_URL: `redis://127.0.0.1:${await freePort()}` } })
    const { get, requestAdmin, upstream, proxy } = service
    const pending = async () =>
      (JSON.parse((await requestAdmin('/status')).text) as { pendingPurges: unknown }).pendingPurges
    await get('chargingAvailability=c')
    const before = await pending()
    const one = await requestAdmin('/status/station?id=c', purge)
    const afterOne = await pending()
    await get('chargingAvailability=c')
    const all = await requestAdmin('/status/stations', purge)
    await get('chargingAvailability=c')
    t.strictSame([one.status, one.body.length, all.status, upstream.calls.length], [204, 0, 204, 3])
    t.strictSame([before, afterOne, await pending()], [0, 1, 'all'])
    const lines = proxy.logs.filter(({ msg }) => msg === 'purge kept until the shared cache is available')
    t.equal(lines.length, 1, 'one line, however many purges are kept')
  },
)
