import t from 'tap'
import { corsFields, corsHeaders } from '../../src/http/cors.ts'
import { commonHeaderProblems, list } from '../support/error-response.ts'
import { answerStation, answerStatus } from '../support/scripted-upstream.ts'
import { perCall } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { problemsByCase } from './cases.ts'

const APP = 'https://app.example'
const OTHER = 'http://localhost:5173'

await t.test('corsFields gives the headers of corsHeaders for every origin', async (t) => {
  const pairs = (fields: readonly string[]) =>
    Object.fromEntries(fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]]] : [])))
  const origins = [APP, OTHER, 'https://evil.example', undefined]
  const listed = corsFields([APP, OTHER])
  const any = corsFields('*')
  t.strictSame(
    origins.flatMap((origin) => [pairs(listed(origin)), pairs(any(origin))]),
    origins.flatMap((origin) => [corsHeaders([APP, OTHER], origin), corsHeaders('*', origin)]),
  )
})

await t.test('OPTIONS', async (t) => {
  const { get, upstream } = await startService(t)
  const preflight = {
    origin: 'https://page.example',
    'access-control-request-method': 'GET',
    'access-control-request-headers': 'tracking-id,tomtom-user-agent',
  }

  await t.test('a preflight lists the allowed methods and headers and may be cached', async (t) => {
    const response = await get('chargingAvailability=a', { method: 'OPTIONS', headers: preflight })
    t.equal(response.status, 204)
    t.equal(response.body.length, 0)
    t.strictSame(commonHeaderProblems(response.headers), [])
    t.ok(list(response.headers['access-control-allow-methods']).includes('get'))
    t.match(list(response.headers['access-control-allow-headers']), ['tracking-id', 'tomtom-user-agent'])
    t.equal(response.headers['access-control-max-age'], '7200')
  })

  await t.test('an OPTIONS request without Origin is answered, whatever its parameters', async (t) => {
    const queries = ['chargingAvailability=a', '', 'minPowerKW=x']
    const responses = await Promise.all(queries.map((query) => get(query, { method: 'OPTIONS' })))
    t.strictSame(
      responses.map(({ status, headers }) => [status, commonHeaderProblems(headers)]),
      queries.map(() => [204, []]),
    )
  })

  t.equal(upstream.calls.length, 0, 'no upstream call is made')
})

const KINDS: [name: string, query: string, options: { ext?: string; method?: string }][] = [
  ['200', 'chargingAvailability=a', {}],
  ['400', '', {}],
  ['400 in XML', 'minPowerKW=x', { ext: 'xml' }],
  ['unknown format', 'chargingAvailability=a', { ext: 'yaml' }],
  ['404 of upstream', 'chargingAvailability=gone', {}],
  ['405', 'chargingAvailability=a', { method: 'POST' }],
  ['502', 'chargingAvailability=broken', {}],
  ['preflight', 'chargingAvailability=a', { method: 'OPTIONS' }],
]
const script = perCall(({ id }) => {
  if (id === 'gone') return answerStatus(404)
  return id === 'broken' ? answerStatus(500) : answerStation
})

await t.test('with CORS_ORIGINS=* any origin may read every response, without credentials', async (t) => {
  const { get } = await startService(t, { script })
  const cases = [APP, 'null', 'https://evil.example'].flatMap((origin) =>
    KINDS.map((kind) => [origin, ...kind] as const),
  )
  const problems = await problemsByCase(cases, async ([origin, name, query, options]) => {
    const { headers } = await get(query, { ...options, headers: { origin } })
    const credentials = headers['access-control-allow-credentials']
    const found = commonHeaderProblems(headers)
    return [`${name} for ${origin}`, credentials === undefined ? found : [...found, 'credentials with *']]
  })
  t.strictSame(problems, {})
})

const all = <T>(count: number, value: T) => Array.from({ length: count }, () => value)

await t.test('with a list of origins', async (t) => {
  const env = { CORS_ORIGINS: `${APP},${OTHER}` }
  const { get, request } = await startService(t, { script, env })
  const received = async (origin: string | undefined) => {
    const headers: Record<string, string> = origin === undefined ? {} : { origin }
    const responses = [
      ...KINDS.map(([, query, options]) => get(query, { ...options, headers })),
      request('/search/2/chargingAvailability%zz.json', { headers }),
    ]
    return (await Promise.all(responses)).map((response) => ({
      origin: response.headers['access-control-allow-origin'],
      credentials: response.headers['access-control-allow-credentials'],
      vary: ['origin', 'accept-encoding'].filter((name) => list(response.headers.vary).includes(name)),
      exposes: list(response.headers['access-control-expose-headers']).includes('tracking-id'),
    }))
  }
  const count = KINDS.length + 1
  const shared = { credentials: 'true', vary: ['origin', 'accept-encoding'], exposes: true }

  await t.test('a listed origin is reflected on every response, with credentials', async (t) => {
    t.strictSame(await received(APP), all(count, { origin: APP, ...shared }))
    t.strictSame(await received(OTHER), all(count, { origin: OTHER, ...shared }))
  })

  await t.test('an origin that is not listed is reflected on no response', async (t) => {
    const others = [
      'https://evil.example',
      `${APP}.evil.example`,
      `${APP}:8443`,
      'http://app.example',
      'null',
      undefined,
    ]
    const responses = (await Promise.all(others.map(received))).flat()
    t.strictSame(
      responses.map(({ origin, vary, exposes }) => ({ origin, vary, exposes })),
      all(count * others.length, { origin: undefined, vary: shared.vary, exposes: true }),
    )
  })

  await t.test('a 304 has the CORS headers of its 200', async (t) => {
    const headers = { origin: APP, 'if-none-match': '*' }
    const response = await get('chargingAvailability=a', { headers })
    t.equal(response.status, 304)
    t.equal(response.headers['access-control-allow-origin'], APP)
    t.equal(response.headers['access-control-allow-credentials'], 'true')
    t.ok(list(response.headers.vary).includes('origin'))
  })
})
