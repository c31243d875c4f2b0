import t from 'tap'
import { generated, get, started } from './support.ts'

await t.test('the headers of the endpoint', async (t) => {
  const simulator = await started(t)

  const echo = async (sent: Record<string, string>) => {
    const { headers } = await get(simulator, 'chargingAvailability=a', { headers: sent })
    return headers.get('tracking-id')
  }

  await t.test('a response has the headers of the real endpoint', async (t) => {
    const { headers } = await get(simulator, 'chargingAvailability=a')
    t.equal(headers.get('cache-control'), 'no-cache')
    t.equal(headers.get('access-control-allow-origin'), '*')
    t.equal(headers.get('server'), 'tomtom')
    t.equal(headers.get('vary'), 'accept-encoding,origin')
    t.equal(headers.get('etag'), null)
  })

  await t.test('a valid Tracking-ID is returned, an invalid or missing one is replaced', async (t) => {
    t.equal(await echo({ 'Tracking-ID': 'abc-123' }), 'abc-123')
    t.match(await echo({ 'Tracking-ID': 'not good' }), /^[a-f0-9-]{36}$/)
    t.match(await echo({}), /^[a-f0-9-]{36}$/)
    t.not(await echo({}), await echo({}))
  })

  await t.test('a body is compressed only if the request accepts gzip', async (t) => {
    const accepted = ['gzip', 'br, GZIP;q=0.5', '*', 'identity', 'gzip;q=0', 'gzip;q=0.0, *']
    const responses = await Promise.all(
      accepted.map(async (coding) => {
        const headers = { 'Accept-Encoding': coding }
        const response = await get(simulator, 'chargingAvailability=a', { headers })
        return [coding, response.headers.get('content-encoding'), await response.json()]
      }),
    )
    const expected = ['gzip', 'gzip', 'gzip', null, null, null]
    t.same(
      responses,
      accepted.map((coding, i) => [coding, expected[i], generated('a')]),
    )
  })
})

await t.test('the errors of the endpoint', async (t) => {
  const simulator = await started(t)
  const requestInvalid = async (query: string, ext = 'json') => {
    const response = await get(simulator, query, { ext })
    return { status: response.status, text: await response.text(), headers: response.headers }
  }

  await t.test('a missing id is a 400 in both formats, without CORS headers', async (t) => {
    const responses = await Promise.all(
      ['', 'chargingAvailability=', 'minPowerKW=1'].map((query) => requestInvalid(query)),
    )
    const json =
      `{"message":"Missing parameter 'chargingAvailability'","detailedError":{"code":"MissingParameter",` +
      `"message":"Missing required parameter 'chargingAvailability'."},"httpStatusCode":"400"}`
    t.same(
      responses.map(({ status, text, headers }) => [
        status,
        headers.get('access-control-allow-origin'),
        text,
      ]),
      responses.map(() => [400, null, json]),
    )
    const { status, text, headers } = await requestInvalid('', 'xml')
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
    await t.test(`an invalid ${name} is a 400 that names it`, async (t) => {
      const found = queries.map(async (query) => {
        const { status, text } = await requestInvalid(`chargingAvailability=a&${query}`)
        const { message, detailedError } = JSON.parse(text) as {
          message: string
          detailedError: { code: string }
        }
        return [query, status, message, detailedError.code]
      })
      t.same(
        await Promise.all(found),
        queries.map((query) => [query, 400, `Invalid parameter '${name}'`, 'InvalidParameter']),
      )
    })
  }

  await t.test('a minPowerKW above maxPowerKW is a 400', async (t) => {
    t.equal((await requestInvalid('chargingAvailability=a&minPowerKW=2&maxPowerKW=1')).status, 400)
  })

  await t.test('an unknown ext is a 400, another path a 404, another method a 405', async (t) => {
    const exts = await Promise.all(
      ['', 'yaml', 'JSON'].map((ext) => requestInvalid('chargingAvailability=a', ext)),
    )
    t.match(
      exts.map(({ text }) => JSON.parse(text) as unknown),
      exts.map(() => ({ httpStatusCode: '400' })),
    )
    const paths = ['/', '/search/3/chargingAvailability.json', '/search/2/chargingavailability.json']
    const missing = await Promise.all(paths.map(async (path) => (await fetch(simulator.url + path)).json()))
    t.match(
      missing,
      paths.map(() => ({ detailedError: { code: 'NotFound' }, httpStatusCode: '404' })),
    )
    const methods = ['POST', 'HEAD', 'DELETE'].map(async (method) => {
      const response = await get(simulator, 'chargingAvailability=a', { ext: 'xml', method })
      const isExplained = (await response.text()).includes('<code>MethodNotAllowed</code>')
      return [method, response.status, response.headers.get('allow'), isExplained]
    })
    t.same(await Promise.all(methods), [
      ['POST', 405, 'GET', true],
      ['HEAD', 405, 'GET', false],
      ['DELETE', 405, 'GET', true],
    ])
  })
})
