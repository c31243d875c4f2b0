import t from 'tap'
import { TEST_KEY } from '../support/proxy.ts'
import { fullText } from '../support/request.ts'
import { answerStation, answerStatus } from '../support/scripted-upstream.ts'
import { perCall } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { UUID } from './cases.ts'

/** The headers that undici and the proxy itself send. */
const OWN_HEADERS = new Set(['accept', 'accept-encoding', 'connection', 'host', 'tracking-id', 'user-agent'])

/** Values that occur nowhere else: each is a new one. */
function tokenSource() {
  const tokens: string[] = []
  const token = () => {
    const next = `Tok${(tokens.length + 1_000).toString(36)}en`
    tokens.push(next)
    return next
  }
  const headers = () => ({
    authorization: `Bearer ${token()}`,
    cookie: `session=${token()}`,
    referer: `https://${token()}.example/`,
    'user-agent': token(),
    'x-forwarded-for': token(),
    'x-forwarded-host': token(),
    'x-forwarded-proto': token(),
    forwarded: `for=${token()}`,
    'x-original-url': `/${token()}`,
    'x-rewrite-url': `/${token()}`,
    'x-http-method-override': token(),
    'tomtom-user-agent': token(),
    'accept-language': token(),
    traceparent: token(),
    'if-none-match': `"${token()}"`,
    range: token(),
    origin: `https://${token()}.example`,
    [`x-${token()}`]: token(),
    via: token(),
    te: token(),
    'proxy-authorization': token(),
    'x-api-key': token(),
  })
  const query = () => `key=${token()}&apiVersion=${token()}&${token()}=${token()}&callback=${token()}`
  return { tokens, token, headers, query }
}

await t.test('no part of a request is returned, forwarded or logged', async (t) => {
  const script = perCall(({ id }) => (id.startsWith('unknown') ? answerStatus(404) : answerStation))
  const { get, request, upstream, proxy } = await startService(t, { script, env: { ACCESS_LOG: 'true' } })
  const { tokens, token, headers, query } = tokenSource()
  const tokensIn = (text: string) => tokens.filter((it) => text.toLowerCase().includes(it.toLowerCase()))

  const responses = await Promise.all([
    get(`chargingAvailability=a&connectorSet=${token()}&${query()}`, { headers: headers() }),
    get(query(), { headers: headers() }),
    get(`chargingAvailability=${token()}&chargingAvailability=${token()}`, {
      headers: headers(),
      ext: 'xml',
    }),
    get(`chargingAvailability=${token()}%00&${query()}`, { headers: headers() }),
    get(`chargingAvailability=a&connectorSet=%3C${token()}%3E`, { headers: headers(), ext: 'xml' }),
    get(`chargingAvailability=a&minPowerKW=${token()}`, { headers: headers() }),
    get(`chargingAvailability=a&maxPowerKW=${token()}`, { headers: headers(), ext: 'xml' }),
    get(`chargingAvailability=a&${query()}`, { headers: headers(), ext: token() }),
    get(`chargingAvailability=a&${query()}`, { headers: headers(), method: 'POST', body: token() }),
    get(`chargingAvailability=a&${query()}%ff`, { headers: headers() }),
    request(`/${token()}/${token()}?${query()}`, { headers: headers() }),
    request(`/${token()}.xml?${query()}`, { headers: headers(), method: 'PUT' }),
    request(`/search/2/chargingAvailability%zz${token()}.json`, { headers: headers() }),
    get(`chargingAvailability=unknown-${token()}`, { headers: headers() }),
    get('chargingAvailability=a', { headers: { 'tracking-id': `${token()} ${token()}` } }),
  ])

  await t.test('no response contains a value, a name, a path or a header of its request', async (t) => {
    t.strictSame(
      responses.map((response) => tokensIn(fullText(response))),
      responses.map(() => []),
    )
  })

  await t.test('a call contains the id and the API key, and no header of a client', async (t) => {
    t.ok(upstream.calls.length > 0)
    const sent = upstream.calls.map(({ url, id, headers, rawHeaders }) => ({
      path: url.pathname,
      parameters: [...url.searchParams.keys()].toSorted(),
      key: url.searchParams.get('key'),
      otherHeaders: Object.keys(headers).filter((name) => !OWN_HEADERS.has(name)),
      hasNewTrackingId: UUID.test(String(headers['tracking-id'])),
      tokens: tokensIn(rawHeaders.join('\n')).filter((it) => !id.includes(it)),
    }))
    t.strictSame(
      sent,
      sent.map(() => ({
        path: '/search/2/chargingAvailability.json',
        parameters: ['chargingAvailability', 'key'],
        key: TEST_KEY,
        otherHeaders: [],
        hasNewTrackingId: true,
        tokens: [],
      })),
    )
  })

  await t.test('the log contains no keys, cookies or credentials', async (t) => {
    const logged = () => proxy.rawLogs.filter((line) => line.includes('request answered')).length
    await until('all requests are logged', () => logged() >= responses.length - 1) // one could not be decoded
    t.notMatch(proxy.rawLogs.join('\n'), /Bearer|session=|key=/)
  })
})
