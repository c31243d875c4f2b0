import t from 'tap'
import { generated, get, started } from './support.ts'

await t.test('headers', async (t) => {
  const simulator = await started(t)

  const echo = async (sent: Record<string, string>) => {
    const { headers } = await get(simulator, 'chargingAvailability=a', { headers: sent })
    return headers.get('tracking-id')
  }

  await t.test('an answer looks like the real one', async (t) => {
    const { headers } = await get(simulator, 'chargingAvailability=a')
    t.equal(headers.get('cache-control'), 'no-cache')
    t.equal(headers.get('access-control-allow-origin'), '*')
    t.equal(headers.get('server'), 'tomtom')
    t.equal(headers.get('vary'), 'accept-encoding,origin')
    t.equal(headers.get('etag'), null)
  })

  await t.test('a good Tracking-ID comes back, another or none is replaced', async (t) => {
    t.equal(await echo({ 'Tracking-ID': 'abc-123' }), 'abc-123')
    t.match(await echo({ 'Tracking-ID': 'not good' }), /^[a-f0-9-]{36}$/)
    t.match(await echo({}), /^[a-f0-9-]{36}$/)
    t.not(await echo({}), await echo({}))
  })

  await t.test('gzip when asked for, and only then', async (t) => {
    const coding = async (accepted: string) => {
      const headers = { 'Accept-Encoding': accepted }
      const response = await get(simulator, 'chargingAvailability=a', { headers })
      t.same(await response.json(), generated('a'))
      return response.headers.get('content-encoding')
    }
    t.equal(await coding('gzip'), 'gzip')
    t.equal(await coding('br, GZIP;q=0.5'), 'gzip')
    t.equal(await coding('*'), 'gzip')
    t.equal(await coding('identity'), null)
    t.equal(await coding('gzip;q=0'), null)
    t.equal(await coding('gzip;q=0.0, *'), null)
  })
})

await t.test('refusals', async (t) => {
  const simulator = await started(t)
  const refused = async (query: string, ext = 'json') => {
    const response = await get(simulator, query, { ext })
    return { status: response.status, text: await response.text(), headers: response.headers }
  }

  await t.test('a missing id, in both messages and both formats', async (t) => {
    for (const query of ['', 'chargingAvailability=', 'minPowerKW=1']) {
      const { status, text, headers } = await refused(query)
      t.equal(status, 400)
      t.equal(headers.get('access-control-allow-origin'), null)
      t.equal(
        text,
        `{"message":"Missing parameter 'chargingAvailability'","detailedError":{"code":"MissingParameter",` +
          `"message":"Missing required parameter 'chargingAvailability'."},"httpStatusCode":"400"}`,
      )
    }
    const { status, text, headers } = await refused('', 'xml')
    t.equal(status, 400)
    t.equal(headers.get('content-type'), 'application/xml; charset=utf-8')
    t.equal(
      text,
      `<ErrorEvResponse>\n<message>Missing parameter 'chargingAvailability'</message>\n<detailedError>\n` +
        `<code>MissingParameter</code>\n<message>Missing required parameter 'chargingAvailability'.</message>\n` +
        `</detailedError>\n</ErrorEvResponse>`,
    )
  })

  const wrong = {
    minPowerKW: [
      'minPowerKW=',
      'minPowerKW=-1',
      'minPowerKW=1,5',
      'minPowerKW=0x1',
      'minPowerKW=1e999',
      'minPowerKW=1&minPowerKW=1',
    ],
    maxPowerKW: ['maxPowerKW=x', 'maxPowerKW=.', 'maxPowerKW=+5', 'maxPowerKW=Infinity'],
    connectorSet: ['connectorSet=a-b', 'connectorSet=Tesla,%20Chademo', `connectorSet=${'a'.repeat(65)}`],
    chargingAvailability: ['chargingAvailability=b'],
  }
  for (const [name, queries] of Object.entries(wrong)) {
    await t.test(`a wrong ${name} is named`, async (t) => {
      for (const query of queries) {
        const { status, text } = await refused(`chargingAvailability=a&${query}`)
        t.equal(status, 400, query)
        t.match(JSON.parse(text), {
          message: `Invalid parameter '${name}'`,
          detailedError: { code: 'InvalidParameter' },
        })
      }
    })
  }

  await t.test('a lowest power over the highest is refused', async (t) => {
    t.equal((await refused('chargingAvailability=a&minPowerKW=2&maxPowerKW=1')).status, 400)
  })

  await t.test('a wrong ext is 400, another path 404, another method 405', async (t) => {
    for (const ext of ['', 'yaml', 'JSON']) {
      t.match(JSON.parse((await refused('chargingAvailability=a', ext)).text), { httpStatusCode: '400' })
    }
    for (const path of ['/', '/search/3/chargingAvailability.json', '/search/2/chargingavailability.json']) {
      const response = await fetch(simulator.url + path)
      t.equal(response.status, 404)
      t.match(await response.json(), { detailedError: { code: 'NotFound' }, httpStatusCode: '404' })
    }
    for (const method of ['POST', 'HEAD', 'DELETE']) {
      const response = await get(simulator, 'chargingAvailability=a', { ext: 'xml', method })
      t.equal(response.status, 405)
      t.equal(response.headers.get('allow'), 'GET')
      t.match(await response.text(), method === 'HEAD' ? '' : '<code>MethodNotAllowed</code>')
    }
  })
})
