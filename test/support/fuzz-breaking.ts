import { connect } from 'node:net'
import type { Socket } from 'node:net'
import * as fc from 'fast-check'
import type { Target } from './fuzz-target.ts'
import { ensure, portOf } from './fuzz-target.ts'
import { pathFor, request } from './request.ts'
import type { Script } from './scripted-upstream.ts'
import { answerStation, answerStatus } from './scripted-upstream.ts'
import { hang, perCall } from './scripts.ts'
import { referenceStation } from './stations.ts'
import { until } from './until.ts'

/* Clients whose connections break at any moment, with requests in progress on them that end later. */

/** Clients of the service with keys, and how many requests of each may wait for upstream. */
export const KEYS = ['web', 'app'].map((name) => ({ name, key: `${name}-0123456789abcdef` }))
export const MAX_IN_FLIGHT = 5

let nextId = 0

/** How upstream answers, by the first word of the id. Most are answered, so that the circuit is mostly closed. */
const anyStation = fc
  .oneof(
    { weight: 4, arbitrary: fc.constant('at once') },
    { weight: 4, arbitrary: fc.integer({ min: 1, max: 60 }).map((ms) => `after ${ms}`) },
    { weight: 4, arbitrary: fc.constantFrom('hot', 'hot 2', 'drip', 'unknown') },
    { weight: 1, arbitrary: fc.constantFrom('hang', 'reset', 'status 500', 'cut') },
  )
  .map((kind) =>
    kind.startsWith('hot') ? () => kind.replace(' ', '-') : () => `${kind.replace(' ', '-')}-${nextId++}`,
  )
type NewId = () => string

export const answerByName: Script = perCall(({ id }) => {
  const [kind, number] = id.split('-')
  const later =
    (ms: number, script: Script): Script =>
    (call, response, incoming) =>
      void setTimeout(() => void script(call, response, incoming), ms)
  if (kind === 'after') return later(Number(number), answerStation)
  if (kind === 'drip') return drip
  if (kind === 'hang') return hang
  if (kind === 'reset') return (_call, response) => void response.socket?.resetAndDestroy()
  if (kind === 'cut')
    return (_call, response) => void response.writeHead(200, { 'content-length': 999 }).end('{')
  if (kind === 'status') return answerStatus(Number(number))
  return kind === 'unknown' ? answerStatus(404) : answerStation
})

/** An answer in pieces, some ms apart. */
const drip: Script = ({ id }, response) => {
  const body = JSON.stringify(referenceStation(id))
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  const step = (at: number) => {
    if (at >= body.length) return void response.end()
    response.write(body.slice(at, at + 200))
    setTimeout(step, 4, at + 200)
  }
  step(0)
}

const HEAD = 'HTTP/1.1\r\nHost: a\r\n'
const headers = fc.constantFrom(
  '',
  'Accept-Encoding: gzip\r\n',
  'Tracking-ID: a\r\n',
  'Expect: 100-continue\r\n',
)

/** A request as text, for a key. */
type Act = (key: string) => string

/** Some of them many for one station: their responses come in several turns of the event loop. */
const anyLookup: fc.Arbitrary<Act> = fc
  .tuple(
    anyStation,
    fc.constantFrom('json', 'xml'),
    fc.constantFrom('', '&minPowerKW=30'),
    headers,
    fc.constantFrom(1, 1, 5, 90),
  )
  .map(
    ([id, ext, filter, more, times]) =>
      (key) =>
        `GET ${pathFor(`chargingAvailability=${id()}${filter}${key}`, ext)} ${HEAD}${more}\r\n`.repeat(times),
  )
const anyLongPoll: fc.Arbitrary<Act> = anyStation.map(
  (id) => (key) =>
    `GET ${pathFor(`chargingAvailability=${id()}${key}`)} ${HEAD}If-None-Match: *\r\nPrefer: wait=60\r\n\r\n`,
)
const anyStream: fc.Arbitrary<Act> = fc
  .tuple(fc.array(anyStation, { minLength: 1, maxLength: 5 }), fc.constantFrom('GET', 'HEAD'))
  .map(
    ([ids, method]) =>
      (key) =>
        `${method} /events?${ids.map((id) => `chargingAvailability=${id()}`).join('&')}${key} ${HEAD}\r\n`,
  )
const anyList: fc.Arbitrary<Act> = fc
  .tuple(fc.array(anyStation, { maxLength: 30 }), fc.constantFrom('whole', 'chunks', 'unfinished'))
  .map(([ids, how]) => (key) => {
    const query = (id: NewId) => ({ query: `/chargingAvailability.json?chargingAvailability=${id()}` })
    const body = JSON.stringify({ batchItems: ids.map(query) })
    const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    const framed =
      how === 'chunks'
        ? `Transfer-Encoding: chunked\r\n\r\n${chunks}`
        : `Content-Length: ${body.length + (how === 'whole' ? 0 : 9)}\r\n\r\n${body}`
    return `POST /search/2/batch/sync.json?${key.slice(1)} ${HEAD}Content-Type: application/json\r\n${framed}`
  })
const anyOther: fc.Arbitrary<Act> = fc
  .constantFrom(
    `GET /healthz ${HEAD}\r\n`,
    `GET /openapi.yaml ${HEAD}Accept-Encoding: gzip\r\n\r\n`,
    `OPTIONS /search/2/batch/sync.json ${HEAD}Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n`,
    `CONNECT a.example:443 ${HEAD}\r\n`,
    `GET / ${HEAD}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n`,
    `GET /search/2/chargingAvailability.json ${HEAD}Content-Length: 3\r\n\r\nabc`,
    'not HTTP\r\n\r\n',
  )
  .map((text) => () => text)

const anyAct = fc.oneof(
  { weight: 6, arbitrary: anyLookup },
  { weight: 2, arbitrary: anyLongPoll },
  { weight: 2, arbitrary: anyStream },
  { weight: 3, arbitrary: anyList },
  { weight: 1, arbitrary: anyOther },
)

interface Visit {
  readonly acts: readonly Act[]
  readonly repeat: number
  /** Length of the pieces that are written in turns of their own; 0 for one packet. */
  readonly pieces: number
  readonly client: number
  readonly isReading: boolean
  readonly how: 'reset' | 'destroy' | 'end'
  /** When the connection breaks: in ms, or with the first byte of a response. */
  readonly after: number | 'first byte'
}

export const anyVisits: fc.Arbitrary<readonly Visit[]> = fc.array(
  fc.record({
    acts: fc.array(anyAct, { minLength: 1, maxLength: 5 }),
    repeat: fc.constantFrom(1, 1, 1, 3, 20),
    pieces: fc.constantFrom(0, 0, 0, 100, 1_000),
    client: fc.nat({ max: KEYS.length - 1 }),
    isReading: fc.boolean(),
    how: fc.constantFrom('reset', 'reset', 'destroy', 'end'),
    after: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constant('first byte' as const)),
  }),
  { minLength: 1, maxLength: 6 },
)

/** How long a client waits for a byte, or with an end of its input for the responses. */
const MAX_WAIT_MS = 60

export async function checkVisits(visits: readonly Visit[], { breaking }: Target): Promise<void> {
  const { services, upstream } = breaking
  upstream.script = answerByName
  upstream.calls.length = 0
  await Promise.all(visits.flatMap((visit) => services.map((service) => pay(visit, portOf(service)))))
  const answers = await Promise.all(services.map(({ url }) => request(url, '/healthz')))
  ensure(
    'the service is alive',
    answers.every(({ status }) => status === 200),
  )
}

async function pay(
  { acts, repeat, pieces, client, isReading, how, after }: Visit,
  port: number,
): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
  const seen = new Promise((resolve) =>
    socket.once(isReading ? 'data' : 'readable', resolve).once('close', resolve),
  )
  const key = `&key=${KEYS[client]?.key}`
  await write(
    socket,
    Array.from({ length: repeat }, () => acts.map((act) => act(key)).join('')).join(''),
    pieces,
  )
  await Promise.race([after === 'first byte' ? seen : later(after), later(MAX_WAIT_MS)])
  if (how === 'end')
    await Promise.race([new Promise((resolve) => socket.once('close', resolve).end()), later(MAX_WAIT_MS)])
  if (how === 'reset') socket.resetAndDestroy()
  else socket.destroy()
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function write(socket: Socket, text: string, pieces: number): Promise<void> {
  const length = pieces === 0 ? text.length : Math.max(pieces, Math.ceil(text.length / 20))
  for (let at = 0; at < text.length && !socket.destroyed; at += length) {
    socket.write(text.slice(at, at + length), 'latin1')
    if (length < text.length) await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Each client may have as many requests in flight as at the start. @throws Error if one cannot */
export async function ensureNoneInFlight({ breaking }: Target): Promise<void> {
  const { services, upstream } = breaking
  upstream.script = answerStation
  for (const { url } of services) {
    for (const { key } of KEYS) {
      await until(`${MAX_IN_FLIGHT} requests of a client are answered`, async () => {
        const ids = Array.from({ length: MAX_IN_FLIGHT }, () => `rest-${nextId++}`)
        const answers = await Promise.all(
          ids.map((id) => request(url, pathFor(`chargingAvailability=${id}&key=${key}`))),
        )
        return answers.every(({ status }) => status === 200)
      })
    }
  }
}
