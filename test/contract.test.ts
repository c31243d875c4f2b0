import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import t from 'tap'
import { Answer } from '../src/cache/answer.ts'
import { asXml, clientFor, freePoints, revalidated, withCommas } from './client/client.ts'
import type { RequestOptions } from './support/request.ts'
import { request, pathFor } from './support/request.ts'
import type { Media, Operation, Parameter } from './support/contract.ts'
import { examplesOf, operations, violations } from './support/contract.ts'
import { TSC } from './support/process.ts'
import { sendBytes } from './support/raw-http.ts'
import { answerStation, answerStatus, sendJson } from './support/scripted-upstream.ts'
import { hang } from './support/scripts.ts'
import type { Service, ServiceOptions } from './support/service.ts'
import { startService } from './support/service.ts'
import { connector, level, station } from './support/stations.ts'

/*
 * The other direction of the contract: support/service.ts holds every answer to openapi.yaml; here everything that
 * openapi.yaml documents is seen to happen. A status, a media type, an example, a header or a parameter without a
 * scene fails; so does a scene of what is not documented.
 */

/** An answer to a request for one operation. */
interface Seen {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
}

/** The request that leads to a documented answer. */
interface Request {
  readonly method: string
  /** The operation's path, in the format that the media type asks for. */
  readonly path: string
  readonly format: 'json' | 'xml'
  readonly headers: Record<string, string>
}

/** How a documented answer comes about. */
interface Scene extends ServiceOptions {
  readonly act: (service: Service, request: Request, t: Test) => Promise<Seen>
}

type Operated = ReturnType<typeof operations>[number]

const ID = '75502858-a491-36fe-7128-23d400153b86'
const ORIGIN = 'https://app.example'

const sends =
  (change: (documented: Request) => RequestOptions & { path?: string } = () => ({})) =>
  ({ request }: Service, documented: Request) => {
    const { path = documented.path, ...options } = change(documented)
    const headers = { ...documented.headers, ...options.headers }
    return request(path, { method: documented.method, ...options, headers })
  }

/** The mirrored route with another query; calls before it are made one after the other. */
const queries =
  (query: string, ...before: string[]) =>
  async ({ request }: Service, { format, headers }: Request) => {
    for (const earlier of before) await request(pathFor(earlier, format))
    return request(pathFor(query, format), { headers })
  }

/** Asks, and asks again with the tag that came. */
async function revalidates({ request }: Service, { path, headers }: Request): Promise<Seen> {
  const { headers: first } = await request(path, { headers })
  return request(path, { headers: { ...headers, 'if-none-match': String(first.etag) } })
}

/** Bytes that end in the middle of the headers, or are none; the answer is held to the document here. */
const writes =
  (tail: string, ms?: number) =>
  async ({ proxy }: Service, { method, path }: Request) => {
    const bytes = `${method} ${path} HTTP/1.1\r\nHost: proxy.example\r\n${tail}`
    const { status, headers, body } = await sendBytes(proxy.addresses.public.port, bytes, ms)
    const faults = violations({ method, path, status, headers, body })
    if (faults.length > 0) throw new Error(faults.join('; '))
    return { status, headers, text: body }
  }

/** A defect of our own: nothing can be rendered. */
async function withDefect(service: Service, request: Request, t: Test): Promise<Seen> {
  t.intercept(Answer.prototype, 'render', {
    value() {
      throw new TypeError('a defect')
    },
  })
  return sends()(service, request)
}

const failing = answerStatus(500)
const ten = Array.from({ length: 10 }, (_, i) => `chargingAvailability=${i}`)

/** Every documented answer: operation (`*` is any), status, and the example, or the code, where there is one. */
const SCENES: Record<string, Scene> = {
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

/** What takes its time: nobody waits for them one by one. */
const SLOW_SCENES: Record<string, Scene> = {
  '* 408 RequestTimeout': { act: writes('X-Note: and then nothing', 20_000) },
}

interface Case {
  readonly operation: Operated
  readonly status: string
  readonly mediaType: string | null
  readonly example: { readonly name: string; readonly value: unknown } | null
}

/** Every answer in the document; one without a body is one, too. */
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

/** The name of its scene among these, if there is one. */
function sceneOf({ operation, status, example }: Case, scenes: Record<string, Scene>): string | undefined {
  const what = [status, ...(example === null ? [] : [example.name])].join(' ')
  return [`${operation.operationId} ${what}`, `* ${what}`].find((name) => name in scenes)
}

function requestFor({ operation, mediaType }: Case, headers: Record<string, string>): Request {
  const format = mediaType === 'application/xml' ? 'xml' : 'json'
  const path = operation.path.replace('{ext}', format)
  const query = operation.operationId === 'getChargingAvailability' ? `?chargingAvailability=${ID}` : ''
  return { method: operation.method, path: path + query, format, headers }
}

/** In what an answer differs from its example: nothing of a body may. */
function differs(mediaType: string, example: unknown, text: string): boolean {
  if (mediaType === 'application/json') return JSON.stringify(JSON.parse(text)) !== JSON.stringify(example)
  const shown = String(example)
  if (mediaType === 'application/xml') return text !== shown.replace(/>\s+</g, '><')
  return !text.startsWith(shown) // a document, of which the example is the beginning
}

/** A station whose body is worth compressing. */
const large = (id: string) =>
  station(id, ...Array.from({ length: 9 }, (_, i) => connector(`Type${i}`, level(22))))

/** The headers seen of each operation's status. */
const headersSeen = new Map<string, Set<string>>()

async function play(t: Test, documented: Case, scenes: Record<string, Scene>): Promise<void> {
  const name = sceneOf(documented, scenes) as string
  const { act, env, ...service } = scenes[name] as Scene
  const { operation, status, mediaType, example } = documented
  const at = `${operation.operationId} ${status}`
  const seen = headersSeen.get(at) ?? new Set<string>()
  headersSeen.set(at, seen)
  const callers = [
    [{}, {}],
    [{ CORS_ORIGINS: ORIGIN }, { origin: ORIGIN, 'accept-encoding': 'gzip' }],
  ] as const
  const plays = callers.map(async ([more, headers]) => {
    const started = await startService(t, { ...service, env: { ...env, ...more } })
    const answer = await act(started, requestFor(documented, headers), t)
    t.equal(String(answer.status), status, `${at} ${mediaType ?? ''}`)
    for (const header of Object.keys(answer.headers)) seen.add(header.toLowerCase())
    if (mediaType === null || example === null) t.equal(answer.text, '', `${at}: no body`)
    else {
      t.match(answer.headers['content-type'], mediaType, `${at}: ${mediaType}`)
      const wrong = differs(mediaType, example.value, answer.text)
      t.notOk(wrong, `${at} ${mediaType} ${example.name} is what comes${wrong ? `: ${answer.text}` : ''}`)
    }
  })
  await Promise.all(plays)
}

await t.test('everything that is documented happens', async (t) => {
  const documented = [...cases()]
  const all = { ...SCENES, ...SLOW_SCENES }

  await t.test('every documented answer has a scene, and every scene is documented', async (t) => {
    const played = new Set(documented.map((it) => sceneOf(it, all)))
    const missing = documented.filter((it) => sceneOf(it, all) === undefined)
    const named = ({ operation, status, example }: Case) =>
      `${operation.operationId} ${status} ${example?.name ?? ''}`
    t.strictSame(missing.map(named), [], 'nothing produces these')
    t.strictSame(
      Object.keys(all).filter((name) => !played.has(name)),
      [],
      'nothing documents these',
    )
  })

  await t.test('every answer, and its body is its example', async (t) => {
    const slow = documented.filter((it) => sceneOf(it, SLOW_SCENES) !== undefined)
    const waiting = Promise.all(slow.map((it) => play(t, it, SLOW_SCENES)))
    for (const it of documented) if (sceneOf(it, SCENES) !== undefined) await play(t, it, SCENES)
    await waiting
  })

  await t.test('every header', async (t) => {
    const { get } = await startService(t, { script: ({ id }, response) => sendJson(response, large(id)) })
    const { headers } = await get('chargingAvailability=large', { headers: { 'accept-encoding': 'gzip' } })
    for (const name of Object.keys(headers)) headersSeen.get('getChargingAvailability 200')?.add(name)

    for (const { operationId, responses } of operations()) {
      for (const [status, { headers = {} }] of Object.entries(responses)) {
        const seen = headersSeen.get(`${operationId} ${status}`)
        const unseen = Object.keys(headers).filter((name) => seen?.has(name.toLowerCase()) !== true)
        t.strictSame(unseen, [], `${operationId} ${status}`)
      }
    }
  })
})

/** A request for an operation with one of its parameters at a value. */
function requestWith(operation: Operated, { in: place, name }: Parameter, value: unknown) {
  const text = Array.isArray(value) ? value.join(',') : String(value)
  const query = new URLSearchParams({ chargingAvailability: ID, ...(place === 'query' && { [name]: text }) })
  const path = operation.path.replace('{ext}', place === 'path' ? text : 'json')
  const { method } = operation
  return { path: `${path}?${query.toString()}`, method, headers: place === 'header' ? { [name]: text } : {} }
}

await t.test('every example of a parameter is accepted', async (t) => {
  const { request, upstream } = await startService(t, { script: answerStation })
  for (const operation of operations()) {
    for (const parameter of (operation as Operation).parameters ?? []) {
      for (const [, value] of examplesOf(parameter)) {
        const { path, ...options } = requestWith(operation, parameter, value)
        const { status } = await request(path, options)
        t.match(String(status), /^(200|204|304)$/, `${parameter.name}=${String(value)}`)
      }
    }
  }
  t.ok(upstream.calls.length >= 2, 'ids differ')
})

await t.test(
  'a value outside of a parameter’s schema is refused, if the document does not say otherwise',
  async (t) => {
    const { proxy, upstream } = await startService(t)
    const outside = {
      chargingAvailability: ['', 'x'.repeat(129), '\u0000', '\u0085'],
      connectorSet: ['IEC-62196', 'x'.repeat(65)],
      minPowerKW: ['-1', 'fast', ''],
      maxPowerKW: ['-0.1', 'NaN'],
    }
    for (const [name, values] of Object.entries(outside)) {
      for (const value of values) {
        const query = new URLSearchParams({ chargingAvailability: ID, [name]: value })
        const { status } = await request(proxy.url, pathFor(query.toString()))
        t.equal(status, 400, `${name}=${JSON.stringify(value)}`)
      }
    }
    t.equal(upstream.calls.length, 0)
  },
)

await t.test('a client generated from the document', async (t) => {
  const root = fileURLToPath(new URL('../', import.meta.url))
  /** What a script prints; one that is not content rejects. */
  const run = async (...args: string[]) =>
    (await promisify(execFile)(process.execPath, args, { cwd: root })).stdout

  await t.test('has the types of today’s document', async (t) => {
    const committed = await readFile(`${root}test/client/api.d.ts`, 'utf8')
    const made = await run('scripts/openapi-types.mjs')
    t.equal(committed, made, 'npm run openapi:types')
  })

  await t.test('compiles, and the mistakes in it are told', async (t) => {
    t.equal(await run(TSC, '-p', 'test/client'), '')
  })

  await t.test('calls the service, with nothing but its base URL', async (t) => {
    const { proxy, upstream } = await startService(t)
    const types = ['IEC62196Type2Outlet', 'Tesla']
    for (const client of [clientFor(proxy.url), withCommas(proxy.url)]) {
      const { free, trackingId } = await freePoints(client, 'a', types)
      t.strictSame(free, [1])
      t.match(trackingId, /^[a-zA-Z0-9-]+$/)
      t.strictSame((await freePoints(client, 'a', ['Tesla'])).free, [])
    }
    t.equal(upstream.calls.length, 1)
  })

  await t.test('sends arrays in both ways that are accepted', async (t) => {
    const asked: string[] = []
    const listen = async (request: globalThis.Request) => {
      asked.push(new URL(request.url).search)
      return Response.json({ connectors: [], chargingAvailability: 'a' })
    }
    await freePoints(clientFor('http://proxy.example', listen), 'a', ['A', 'B'])
    await freePoints(withCommas('http://proxy.example', listen), 'a', ['A', 'B'])
    const [repeated, commas] = asked
    t.equal(repeated, '?chargingAvailability=a&connectorSet=A&connectorSet=B&minPowerKW=11')
    t.equal(commas, '?chargingAvailability=a&connectorSet=A,B&minPowerKW=11')
  })

  await t.test('reads errors by their type, in both formats', async (t) => {
    const { proxy } = await startService(t, { script: answerStatus(500) })
    const client = clientFor(proxy.url)
    t.match(await freePoints(client, '', []), { code: 'MissingParameter', status: 400 })
    t.match(await freePoints(client, 'a', []), { code: 'UpstreamFailed', status: 502 })
    const { data, error } = await asXml(client, 'a')
    t.equal(data, undefined)
    t.match(error, /<code>UpstreamFailed<\/code>/)
  })

  await t.test('reads XML as text, and asks whether what it has still holds', async (t) => {
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
