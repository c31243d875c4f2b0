import t from 'tap'
import { expectedJson, expectedXml } from '../support/expected.ts'
import { pathFor } from '../support/request.ts'
import { sendJson } from '../support/scripted-upstream.ts'
import { startService } from '../support/service.ts'
import { referenceStation, station } from '../support/stations.ts'
import { createTestServer } from './public-server.ts'

await t.test('a 200', async (t) => {
  const { get, proxy } = await startService(t)

  await t.test('a JSON response is the reference answer, minified, with fractions in powers', async (t) => {
    const response = await get('chargingAvailability=a')
    t.equal(response.status, 200)
    t.equal(response.text, expectedJson(referenceStation('a')))
    t.match(response.text, '"powerKW":50.0,')
  })

  await t.test('an XML response is the reference answer, element for element', async (t) => {
    const response = await get('chargingAvailability=a', { ext: 'xml' })
    t.equal(response.status, 200)
    t.equal(response.headers['content-type'], 'application/xml; charset=utf-8')
    t.equal(response.text, expectedXml(referenceStation('a')))
  })

  await t.test('successive requests are answered on one kept-alive connection', async (t) => {
    const received: unknown[] = []
    for (const _ of [1, 2, 3]) {
      const response = await fetch(`${proxy.url}${pathFor('chargingAvailability=a')}`)
      received.push([await response.text(), response.headers.get('connection')])
    }
    const expected = [expectedJson(referenceStation('a')), 'keep-alive']
    t.strictSame(received, [expected, expected, expected])
  })
})

await t.test('a station without connectors is an answer', async (t) => {
  const { get } = await startService(t, { script: ({ id }, response) => sendJson(response, station(id)) })
  const response = await get('chargingAvailability=1')
  t.equal(response.status, 200)
  t.equal(response.text, '{"connectors":[],"chargingAvailability":"1"}')
  t.equal((await get('chargingAvailability=1', { ext: 'xml' })).text, expectedXml(station('1')))
})

await t.test('members and connector types that the reference does not have are kept', async (t) => {
  const body = {
    connectors: [{ type: 'Hyper9', total: 1, availability: { current: {}, perPowerLevel: [] }, fast: true }],
    chargingAvailability: 'a',
    operator: { name: 'x', nets: [1, 2] },
  }
  const { get } = await startService(t, { script: (_call, response) => sendJson(response, body) })
  t.equal((await get('chargingAvailability=a')).text, JSON.stringify(body))
})

await t.test('while draining, every response closes its connection', async (t) => {
  let isDraining = false
  const { app } = await createTestServer(t, { isDraining: () => isDraining })
  const connections = async () => {
    const responses = [
      await app.inject({ url: pathFor('chargingAvailability=a'), headers: { host: 'x' } }),
      await app.inject({ url: pathFor('minPowerKW=x'), headers: { host: 'x' } }),
      await app.inject({ url: '/healthz', headers: { host: 'x' } }),
      await app.inject({ url: '/nothing', headers: { host: 'x' } }),
    ]
    return responses.map(({ statusCode, headers }) => [statusCode, headers.connection])
  }
  t.strictSame(
    (await connections()).map(([status, connection]) => [status, connection === 'close']),
    [
      [200, false],
      [400, false],
      [200, false],
      [404, false],
    ],
  )
  isDraining = true
  t.strictSame(await connections(), [
    [200, 'close'],
    [400, 'close'],
    [200, 'close'],
    [404, 'close'],
  ])
})
