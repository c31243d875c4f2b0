import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import t from 'tap'
import { Answer } from '../src/cache/answer.ts'
import { ByteBudget } from '../src/lib/byte-budget.ts'
import { asXml, clientFor, freePoints, revalidated, withCommas } from './client/client.ts'
import type { RequestOptions } from './support/request.ts'
import { request, pathFor } from './support/request.ts'
import type { Media, Operation, Parameter } from './support/contract.ts'
import { examplesOf, operations, violations } from './support/contract.ts'
import { tsc } from './support/process.ts'
import { openStream } from './support/event-source.ts'
import { sendBytes } from './support/raw-http.ts'
import { answerStation, answerStatus, sendJson } from './support/scripted-upstream.ts'
import { hang } from './support/scripts.ts'
import type { Service, ServiceOptions } from './support/service.ts'
import { startService } from './support/service.ts'
import { connector, level, station } from './support/stations.ts'

/*
 * The other direction of the contract: support/service.ts checks every response against openapi.yaml; here everything
 * that openapi.yaml documents is produced once. A status, media type, example, header or parameter without a scenario
 * fails the test, and so does a scenario of something that is not documented.
 */

/** A response of one operation. */
interface Received {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
}

/** The request for a documented response. */
interface Request {
  readonly method: string
  /** The operation's path, in the format that the media type asks for. */
  readonly path: string
  readonly format: 'json' | 'xml'
  readonly headers: Record<string, string>
  /** Absent for a GET. */
  readonly body?: string
}

/** How a documented response is produced. */
interface Scenario extends ServiceOptions {
  readonly act: (service: Service, request: Request, t: Test) => Promise<Received>
}

type Operated = ReturnType<typeof operations>[number]

const ID = '75502858-a491-36fe-7128-23d400153b86'
const ORIGIN = 'https://app.example'

const sends =
  (change: (documented: Request) => RequestOptions & { path?: string } = () => ({})) =>
  ({ request }: Service, documented: Request) => {
    const { path = documented.path, ...options } = change(documented)
    const headers = { ...documented.headers, ...options.headers }
    const { method = documented.method, ...more } = options
    const body = method === documented.method ? documented.body : undefined
    return request(path, { ...(body !== undefined && { body }), method, ...more, headers })
  }

/** A request of the proxied route with another query, after other requests in sequence. */
const queries =
  (query: string, ...before: string[]) =>
  async ({ request }: Service, { format, headers }: Request) => {
    for (const earlier of before) await request(pathFor(earlier, format))
    return request(pathFor(query, format), { headers })
  }

/** A request, and another one with the entity tag of the first response. */
async function revalidates({ request }: Service, { path, headers, ...options }: Request): Promise<Received> {
  const { headers: first } = await request(path, { ...options, headers })
  return request(path, { ...options, headers: { ...headers, 'if-none-match': String(first.etag) } })
}

/** The second of two requests. */
const repeats: Scenario['act'] = async (service, request) => {
  await sends()(service, request)
  return sends()(service, request)
}

/** Raw bytes after the request line and Host; their response is checked against the document here. */
const writes =
  (tail: string, ms?: number) =>
  async ({ proxy }: Service, { method, path }: Request) => {
    const bytes = `${method} ${path} HTTP/1.1\r\nHost: proxy.example\r\n${tail}`
    const { status, headers, body } = await sendBytes(proxy.addresses.public.port, bytes, ms)
    const faults = violations({ method, path, status, headers, body })
    if (faults.length > 0) throw new Error(faults.join('; '))
    return { status, headers, text: body }
  }

/** Read before the first interception, which replaces the property. */
const render = Object.getOwnPropertyDescriptor(Answer.prototype, 'render')?.value as Answer['render']

/** The beginning of a stream, which is checked against the document here. */
async function opens({ proxy }: Service, { method, path, headers }: Request, t: Test): Promise<Received> {
  const stream = await openStream(t, proxy.url, `chargingAvailability=${ID}`, headers)
  await stream.received(1)
  stream.close()
  const received = { status: stream.status, headers: stream.headers, text: stream.raw() }
  const faults = violations({ method, path, ...received, body: received.text })
  if (faults.length > 0) throw new Error(faults.join('; '))
  return received
}

/** A request while a stream is open. */
const afterStream: Scenario['act'] = async (service, request, t) => {
  await openStream(t, service.proxy.url, `chargingAvailability=${ID}`)
  return sends()(service, request)
}

/** A defect of the proxy: rendering this station throws. */
async function withDefect(service: Service, request: Request, t: Test): Promise<Received> {
  t.intercept(Answer.prototype, 'render', {
    value(this: Answer, ...args: Parameters<Answer['render']>) {
      if (this.id === 'defect') throw new TypeError('a defect')
      return render.apply(this, args)
    },
  })
  const { path, body } = request
  const renamed = { path: path.replace(ID, 'defect'), body: (body ?? '').replaceAll(ID, 'defect') }
  return sends(() => (body === undefined ? { path: renamed.path } : renamed))(service, request)
}

/** A request while as much waits as may. */
async function whileFull(service: Service, request: Request, t: Test): Promise<Received> {
  const room = t.intercept(ByteBudget.prototype, 'hasRoom', { value: () => false })
  try {
    return await sends()(service, request)
  } finally {
    room.restore()
  }
}

const failing = answerStatus(500)
/** The batch of the document's example. */
const BATCH = JSON.stringify({
  batchItems: [
    { query: `/chargingAvailability.json?chargingAvailability=${ID}` },
    { query: `/chargingAvailability.json?chargingAvailability=${ID}&connectorSet=Tesla` },
    { query: '/chargingAvailability.json?connectorSet=Tesla' },
  ],
})
const ten = Array.from({ length: 10 }, (_, i) => `chargingAvailability=${i}`)

/** Every documented response: operation (`*` is any), status, and the name of its example, if any. */
const SCENARIOS: Record<string, Scenario> = {
  'getChargingAvailability 200 station': { act: sends() },
  'getChargingAvailability 200 unknownId': {
    script: ({ id }, response) => sendJson(response, station(id)),
    act: queries('chargingAvailability=1'),
  },
  'getChargingAvailability 304': { act: revalidates },
  'getChargingAvailability 400 MissingParameter': { act: queries('') },
  'getChargingAvailability 400 InvalidParameter': {
    act: queries(`chargingAvailability=${ID}&minPowerKW=43.2&maxPowerKW=22.2`),
  },
  'getChargingAvailability 403 Forbidden': {
    env: { CLIENT_KEYS: 'web=a-key-of-a-client-0123456789' },
    act: sends(),
  },
  'getChargingAvailability 404 NotFound': { script: answerStatus(404), act: sends() },
  'getChargingAvailability 405 MethodNotAllowed': { act: sends(() => ({ method: 'POST' })) },
  'getChargingAvailability 429 TooManyRequests': { script: answerStatus(429), act: sends() },
  'getChargingAvailability 500 InternalError': { act: withDefect },
  'getChargingAvailability 502 UpstreamRefused': { script: answerStatus(403), act: sends() },
  'getChargingAvailability 502 UpstreamFailed': { script: failing, act: sends() },
  'getChargingAvailability 503 UpstreamUnavailable': {
    script: failing,
    act: queries(`chargingAvailability=${ID}`, ...ten),
  },
  'getChargingAvailability 503 QuotaExhausted': {
    env: { UPSTREAM_QUOTA: '1/day' },
    act: queries(`chargingAvailability=${ID}`, ...ten),
  },
  'getChargingAvailability 504 UpstreamTimeout': {
    env: { UPSTREAM_TIMEOUT: '20ms' },
    script: hang,
    act: sends(),
  },
  'preflightChargingAvailability 204': {
    act: sends(() => ({
      headers: { 'access-control-request-method': 'GET', 'access-control-request-headers': 'Tracking-ID' },
    })),
  },
  'postBatch 200 batch': { act: sends() },
  'postBatch 304': { act: revalidates },
  'postBatch 400 InvalidParameter': {
    act: sends(() => ({ body: JSON.stringify({ batchItems: Array.from({ length: 101 }, () => 1) }) })),
  },
  'postBatch 403 Forbidden': { env: { CLIENT_KEYS: 'web=a-key-of-a-client-0123456789' }, act: sends() },
  'postBatch 405 MethodNotAllowed': { act: sends(() => ({ method: 'GET' })) },
  'postBatch 413 PayloadTooLarge': { act: sends(() => ({ body: ' '.repeat(65_537) })) },
  'postBatch 415 UnsupportedMediaType': { act: sends(() => ({ headers: { 'content-type': 'text/plain' } })) },
  'postBatch 429 TooManyRequests': { env: { CLIENT_RATE_LIMIT: '1' }, act: repeats },
  'postBatch 500 InternalError': { act: withDefect },
  'postBatch 503 UpstreamUnavailable': { act: whileFull },
  'preflightBatch 204': {
    act: sends(() => ({
      headers: { 'access-control-request-method': 'POST', 'access-control-request-headers': 'Content-Type' },
    })),
  },
  'getEvents 200 example': { act: opens },
  'getEvents 400 MissingParameter': { act: sends(() => ({ path: '/events' })) },
  'getEvents 400 InvalidParameter': {
    act: sends(() => ({ path: `/events?chargingAvailability=${ID}&minPowerKW=43.2&maxPowerKW=22.2` })),
  },
  'getEvents 403 Forbidden': { env: { CLIENT_KEYS: 'web=a-key-of-a-client-0123456789' }, act: sends() },
  'getEvents 404 NotFound': { env: { EVENTS_MAX_STREAMS: '0' }, act: sends() },
  'getEvents 405 MethodNotAllowed': { act: sends(() => ({ method: 'POST' })) },
  'getEvents 429 TooManyRequests': { env: { CLIENT_RATE_LIMIT: '1' }, act: afterStream },
  'getEvents 503 TooManyStreams': { env: { EVENTS_MAX_STREAMS: '1' }, act: afterStream },
  'getHealth 200 example': { act: sends() },
  'getOpenApi 200 example': { act: sends() },
  'getDocs 200 example': { act: sends() },
  'getDocs 304': { act: revalidates },
  'getDocs 404 NotFound': { env: { DOCS: 'false' }, act: sends() },
  'getHealth 405 MethodNotAllowed': { act: sends(() => ({ method: 'POST' })) },
  'getOpenApi 405 MethodNotAllowed': { act: sends(() => ({ method: 'POST' })) },
  'getDocs 405 MethodNotAllowed': { act: sends(() => ({ method: 'POST' })) },
  '* 400 InvalidParameter': { act: writes('no colon\r\n\r\n') },
  '* 431 HeadersTooLarge': { act: sends(() => ({ headers: { 'x-note': 'x'.repeat(20_000) } })) },
}

/** Slow ones, which run beside the others. */
const SLOW_SCENARIOS: Record<string, Scenario> = {
  '* 408 RequestTimeout': { act: writes('X-Note: and then nothing', 20_000) },
}

interface Case {
  readonly operation: Operated
  readonly status: string
  readonly mediaType: string | null
  readonly example: { readonly name: string; readonly value: unknown } | null
}

/** Every response in the document, those without a body included. */
function* cases(): Generator<Case> {
  for (const operation of operations()) {
    for (const [status, { content }] of Object.entries(operation.responses)) {
      if (content === undefined) yield { operation, status, mediaType: null, example: null }
      for (const [mediaType, media] of Object.entries<Media>(content ?? {})) {
        for (const [name, value] of examplesOf(media)) {
          yield { operation, status, mediaType, example: { name, value } }
        }
      }
    }
  }
}

/** The name of the case's scenario, if there is one. */
function scenarioOf(
  { operation, status, example }: Case,
  scenarios: Record<string, Scenario>,
): string | undefined {
  const what = [status, ...(example === null ? [] : [example.name])].join(' ')
  return [`${operation.operationId} ${what}`, `* ${what}`].find((name) => name in scenarios)
}

function requestFor({ operation, mediaType }: Case, headers: Record<string, string>): Request {
  const format = mediaType === 'application/xml' ? 'xml' : 'json'
  const path = operation.path.replace('{ext}', format)
  const isLookup = ['getChargingAvailability', 'getEvents'].includes(operation.operationId)
  const query = isLookup ? `?chargingAvailability=${ID}` : ''
  const request = { method: operation.method, path: path + query, format, headers } as const
  if (operation.method !== 'POST') return request
  return { ...request, headers: { 'content-type': 'application/json', ...headers }, body: BATCH }
}

/** Whether a body differs from its example. */
function differs(mediaType: string, example: unknown, text: string): boolean {
  if (mediaType === 'application/json') return JSON.stringify(JSON.parse(text)) !== JSON.stringify(example)
  const expected = String(example)
  if (mediaType === 'application/xml') return text !== expected.replace(/>\s+</g, '><')
  return !text.startsWith(expected) // the example is the beginning of the document
}

/** A station whose body is compressed. */
const large = (id: string) =>
  station(id, ...Array.from({ length: 9 }, (_, i) => connector(`Type${i}`, level(22))))

/** The headers received, by operation and status. */
const headersSeen = new Map<string, Set<string>>()

/** Produces a documented response for two kinds of clients; what differs from the document. */
async function play(t: Test, documented: Case, scenarios: Record<string, Scenario>): Promise<string[]> {
  const name = scenarioOf(documented, scenarios) as string
  const { act, env, ...service } = scenarios[name] as Scenario
  const { operation, status } = documented
  const at = `${operation.operationId} ${status}`
  const seen = headersSeen.get(at) ?? new Set<string>()
  headersSeen.set(at, seen)
  const clients = [
    [{}, {}],
    [{ CORS_ORIGINS: ORIGIN }, { origin: ORIGIN, 'accept-encoding': 'gzip' }],
  ] as const
  const plays = clients.map(async ([more, headers]) => {
    const started = await startService(t, { ...service, env: { ...env, ...more } })
    const response = await act(started, requestFor(documented, headers), t)
    for (const header of Object.keys(response.headers)) seen.add(header.toLowerCase())
    return differences(documented, response).map((problem) => `${at}: ${problem}`)
  })
  return (await Promise.all(plays)).flat()
}

function differences({ status, mediaType, example }: Case, { status: received, headers, text }: Received) {
  const problems = String(received) === status ? [] : [`status ${received}`]
  if (mediaType === null || example === null) return text === '' ? problems : [...problems, `a body: ${text}`]
  const type = String(headers['content-type'])
  if (!type.startsWith(mediaType)) problems.push(`${type} instead of ${mediaType}`)
  if (differs(mediaType, example.value, text)) problems.push(`not ${mediaType} ${example.name}: ${text}`)
  return problems
}

await t.test('everything that openapi.yaml documents is produced', async (t) => {
  const documented = [...cases()]
  const all = { ...SCENARIOS, ...SLOW_SCENARIOS }

  await t.test('every documented response has a scenario, and every scenario is documented', async (t) => {
    const played = new Set(documented.map((it) => scenarioOf(it, all)))
    const missing = documented.filter((it) => scenarioOf(it, all) === undefined)
    const named = ({ operation, status, example }: Case) =>
      `${operation.operationId} ${status} ${example?.name ?? ''}`
    t.strictSame(missing.map(named), [], 'without a scenario')
    t.strictSame(
      Object.keys(all).filter((name) => !played.has(name)),
      [],
      'not documented',
    )
  })

  await t.test('every documented response is produced, with its example as the body', async (t) => {
    const slow = documented.filter((it) => scenarioOf(it, SLOW_SCENARIOS) !== undefined)
    const waiting = Promise.all(slow.map((it) => play(t, it, SLOW_SCENARIOS)))
    const problems: string[] = []
    for (const it of documented) {
      if (scenarioOf(it, SCENARIOS) !== undefined) problems.push(...(await play(t, it, SCENARIOS)))
    }
    problems.push(...(await waiting).flat())
    t.strictSame(problems, [])
  })

  await t.test('every documented header occurs in one of these responses', async (t) => {
    const { get } = await startService(t, { script: ({ id }, response) => sendJson(response, large(id)) })
    const { headers } = await get('chargingAvailability=large', { headers: { 'accept-encoding': 'gzip' } })
    for (const name of Object.keys(headers)) headersSeen.get('getChargingAvailability 200')?.add(name)
    for (const name of Object.keys(headers)) headersSeen.get('postBatch 200')?.add(name)
    // A changed answer is the subject of test/http/last-modified.test.ts.
    // So is a wait of test/http/long-poll.test.ts.
    for (const status of [200, 304]) {
      const seen = headersSeen.get(`getChargingAvailability ${status}`)
      for (const name of ['last-modified', 'preference-applied']) seen?.add(name)
    }

    const unseen = operations().flatMap(({ operationId, responses }) =>
      Object.entries(responses).flatMap(([status, { headers = {} }]) => {
        const seen = headersSeen.get(`${operationId} ${status}`)
        const missing = Object.keys(headers).filter((name) => seen?.has(name.toLowerCase()) !== true)
        return missing.map((name) => `${operationId} ${status} ${name}`)
      }),
    )
    t.strictSame(unseen, [])
  })
})

/** A request for an operation with a value for one of its parameters. */
function requestWith(operation: Operated, { in: place, name }: Parameter, value: unknown) {
  const text = Array.isArray(value) ? value.join(',') : String(value)
  const query = new URLSearchParams({ chargingAvailability: ID, ...(place === 'query' && { [name]: text }) })
  const path = operation.path.replace('{ext}', place === 'path' ? text : 'json')
  const isStream = operation.operationId === 'getEvents'
  const method = isStream ? 'HEAD' : operation.method
  const body = method === 'POST' ? { body: '{"batchItems":[]}' } : {}
  const type = method === 'POST' ? { 'content-type': 'application/json' } : {}
  return {
    ...body,
    path: `${path}?${query.toString()}`,
    method,
    headers: { ...type, ...(place === 'header' && { [name]: text }) },
  }
}

await t.test('every example of a parameter is accepted', async (t) => {
  const { request, upstream } = await startService(t, { script: answerStation })
  const requests = operations().flatMap((operation) =>
    ((operation as Operation).parameters ?? []).flatMap((parameter) =>
      examplesOf(parameter).map(([, value]) => ({
        name: `${parameter.name}=${String(value)}`,
        ...requestWith(operation, parameter, value),
      })),
    ),
  )
  const received = await Promise.all(
    requests.map(
      async ({ name, path, ...options }) => [name, (await request(path, options)).status] as const,
    ),
  )
  t.strictSame(
    received.filter(([, status]) => ![200, 204, 304].includes(status)),
    [],
  )
  t.ok(upstream.calls.length >= 2, 'ids differ')
})

await t.test('a value outside of its parameter’s schema is a 400', async (t) => {
  const { proxy, upstream } = await startService(t)
  const outside = {
    chargingAvailability: ['', 'x'.repeat(129), '\u0000', '\u0085'],
    connectorSet: ['IEC-62196', 'x'.repeat(65)],
    minPowerKW: ['-1', 'fast', ''],
    maxPowerKW: ['-0.1', 'NaN'],
  }
  const cases = Object.entries(outside).flatMap(([name, values]) =>
    values.map((value) => new URLSearchParams({ chargingAvailability: ID, [name]: value }).toString()),
  )
  const received = await Promise.all(
    cases.map(async (query) => [query, (await request(proxy.url, pathFor(query))).status]),
  )
  t.strictSame(
    received,
    cases.map((query) => [query, 400]),
  )
  t.equal(upstream.calls.length, 0)
})

await t.test('a client generated from the document', async (t) => {
  const root = fileURLToPath(new URL('../', import.meta.url))
  /** The output of a script; rejects if it fails. */
  const run = async (...args: string[]) =>
    (await promisify(execFile)(process.execPath, args, { cwd: root })).stdout

  await t.test('the committed types are those of the document', async (t) => {
    const committed = await readFile(`${root}test/client/api.d.ts`, 'utf8')
    const generated = await run('scripts/openapi-types.mjs')
    t.equal(committed, generated, 'npm run openapi:types')
  })

  await t.test('correct uses compile, and each mistake is a type error', async (t) => {
    t.equal(await tsc('-p', 'test/client'), '')
  })

  await t.test('a client that has only the base URL can call the service', async (t) => {
    const { proxy, upstream } = await startService(t)
    const types = ['IEC62196Type2Outlet', 'Tesla']
    const received: unknown[] = []
    for (const client of [clientFor(proxy.url), withCommas(proxy.url)]) {
      const { free, trackingId } = await freePoints(client, 'a', types)
      received.push(free, /^[a-zA-Z0-9-]+$/.test(trackingId ?? ''))
      received.push((await freePoints(client, 'a', ['Tesla'])).free)
    }
    t.strictSame(received, [[1], true, [], [1], true, []])
    t.equal(upstream.calls.length, 1)
  })

  await t.test('arrays are accepted repeated and separated by commas', async (t) => {
    const queries: string[] = []
    const fakeFetch = async (request: globalThis.Request) => {
      queries.push(new URL(request.url).search)
      return Response.json({ connectors: [], chargingAvailability: 'a' })
    }
    await freePoints(clientFor('http://proxy.example', fakeFetch), 'a', ['A', 'B'])
    await freePoints(withCommas('http://proxy.example', fakeFetch), 'a', ['A', 'B'])
    const [repeated, commas] = queries
    t.equal(repeated, '?chargingAvailability=a&connectorSet=A&connectorSet=B&minPowerKW=11')
    t.equal(commas, '?chargingAvailability=a&connectorSet=A,B&minPowerKW=11')
  })

  await t.test('errors are typed in both formats', async (t) => {
    const { proxy } = await startService(t, { script: answerStatus(500) })
    const client = clientFor(proxy.url)
    t.match(await freePoints(client, '', []), { code: 'MissingParameter', status: 400 })
    t.match(await freePoints(client, 'a', []), { code: 'UpstreamFailed', status: 502 })
    const { data, error } = await asXml(client, 'a')
    t.equal(data, undefined)
    t.match(error, /<code>UpstreamFailed<\/code>/)
  })

  await t.test('XML is text, and an entity tag is revalidated', async (t) => {
    const { proxy } = await startService(t)
    const client = clientFor(proxy.url)
    const { data, response } = await asXml(client, 'a')
    t.match(data, /<response><chargingAvailability>a</)
    t.equal(response.headers.get('content-type'), 'application/xml; charset=utf-8')
    const { status, headers } = await revalidated(client, 'a', '*')
    t.equal(status, 304)
    t.equal(headers.get('tracking-id'), 'client-1')
  })
})
