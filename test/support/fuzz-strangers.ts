import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { XMLValidator } from 'fast-xml-parser'
import { createLogDestination, MAX_QUEUED_CHARACTERS } from '../../src/ops/log/destination.ts'
import type { Target } from './fuzz-target.ts'
import { ensure, portOf } from './fuzz-target.ts'
import { pathFor, request } from './request.ts'
import { answerStation } from './scripted-upstream.ts'
import { sendBody } from './scripts.ts'

/* Kinds of the fuzzer that attack resources: raw packets, long heads, bodies that explode, logs that fail. */

let nextId = 0

const CHUNKED = 'Host: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n'
const inChunks = (body: string) => Array.from(body, (character) => `1\r\n${character}\r\n`).join('')

const anyPart = fc.constantFrom(
  'GET /search/2/chargingAvailability.json?chargingAvailability=packet HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /search/2/chargingAvailability.xml?chargingAvailability=other HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /openapi.yaml HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n',
  'HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /search/2/chargingAvailability.json HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc',
  `POST /search/2/batch/sync.json HTTP/1.1\r\n${CHUNKED}${inChunks('{"batchItems":[]}')}0\r\n\r\n`,
  `POST /search/2/batch/sync.json HTTP/1.1\r\n${CHUNKED}${inChunks(' '.repeat(3_000))}`,
  `GET /healthz HTTP/1.1\r\n${CHUNKED}1;a="b"\r\nx\r\n0\r\nX-Trailer: x\r\n\r\n`,
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\r\n',
)

interface Packets {
  readonly parts: readonly string[]
  readonly repeat: number
  /** Length of the pieces that are written in turns of their own; 0 for one packet. */
  readonly pieces: number
  readonly end: boolean
}

/** Pipelined requests on some connections at once, each in one packet or split, up to every byte. */
export const anyPackets: fc.Arbitrary<readonly Packets[]> = fc.array(
  fc.record({
    parts: fc.array(anyPart, { minLength: 1, maxLength: 6 }),
    repeat: fc.constantFrom(1, 1, 1, 2, 50, 300),
    pieces: fc.constantFrom(0, 0, 1, 3, 40, 1_000),
    end: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
)

const MAX_PIECES = 1_500
const READ_MS = 120

export async function checkPackets(connections: readonly Packets[], { proxy, upstream }: Target) {
  upstream.script = answerStation
  await Promise.all(connections.map((packets) => checkConnection(packets, portOf(proxy))))
  await ensureAlive(proxy)
}

async function checkConnection({ parts, repeat, pieces, end }: Packets, port: number) {
  const text = parts.join('').repeat(repeat)
  const length = pieces === 0 ? text.length : Math.max(pieces, Math.ceil(text.length / MAX_PIECES))
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  let received = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (received += chunk))
  for (let at = 0; at < text.length && !socket.destroyed; at += length) {
    socket.write(text.slice(at, at + length), 'latin1')
    if (length < text.length) await new Promise((resolve) => setImmediate(resolve))
  }
  if (end) socket.end()
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, READ_MS))])
  socket.destroy()
  const statuses = [...received.matchAll(/HTTP\/1\.1 (\d{3}) [A-Z]/g)].map(([, code]) => Number(code))
  ensure('no more responses than requests', statuses.length <= parts.length * repeat, statuses.length)
  ensure(
    'no 5xx',
    statuses.every((code) => code < 500),
    statuses,
  )
  ensure('a response', statuses.length > 0 || received === '', received)
}

async function ensureAlive({ url }: Target['proxy']): Promise<void> {
  ensure('the service is alive', (await request(url, '/healthz')).status === 200)
}

interface LongHead {
  readonly name: string
  readonly fill: string
  readonly length: number
  readonly start: string
}

export const anyLongHead: fc.Arbitrary<LongHead> = fc.record({
  name: fc.constantFrom(
    'Origin',
    'Tracking-ID',
    'X-Forwarded-For',
    'If-None-Match',
    'Accept-Encoding',
    'traceparent',
    'Host',
    'Connection',
    'Access-Control-Request-Headers',
  ),
  fill: fc.constantFrom(' ', '\t', ',', '"', '.', '%', ';', 'W/"', 'a, ', '=', ':', '0'),
  length: fc.constantFrom(1_000, 15_000, 16_500, 64_000),
  start: fc.constantFrom('', 'a', '"', '*', '1.1.1.1,'),
})

const MAX_CPU_MS = 150

export async function checkLongHead({ name, fill, length, start }: LongHead, { proxy, upstream }: Target) {
  upstream.script = answerStation
  const value = start + fill.repeat(length / fill.length)
  const path = pathFor('chargingAvailability=packet')
  const socket = connect(portOf(proxy), '127.0.0.1').on('error', () => {})
  const before = proxy.cpuMs()
  let received = ''
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.setEncoding('latin1').on('data', (chunk: string) => (received += chunk))
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n${name}: ${value}b\r\nConnection: close\r\n\r\n`, 'latin1')
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 1_000))])
  socket.destroy()
  const ms = proxy.cpuMs() - before
  ensure('little CPU', ms < MAX_CPU_MS, `${ms} ms`)
  ensure('a status below 500', !received.startsWith('HTTP/1.1 5'), received)
  await ensureAlive(proxy)
}

interface Explosion {
  readonly piece: string
  readonly member: string
  readonly bytes: number
  readonly bound: string
  readonly gzip: boolean
}

/** Bodies that fill one member with a small piece; `#` in it is a number that differs. */
export const anyExplosion: fc.Arbitrary<Explosion> = fc.record({
  piece: fc.constantFrom(
    '1',
    '{}',
    '[]',
    '[[]]',
    '"&"',
    '""',
    '{"a":1}',
    '1e20',
    '{"powerKW":1}',
    'null',
    '"\\u0001"',
    '"#"',
    '{"#":1}',
    '{"powerKW":#,"available":1}',
  ),
  member: fc.constantFrom('perPowerLevel', 'current', 'note', 'type'),
  bytes: fc.constantFrom(10_000, 200_000, 1_040_000),
  bound: fc.constantFrom('', '&minPowerKW=1', '&connectorSet=T'),
  gzip: fc.boolean(),
})

const MAX_BODY = 4 * 2 ** 20

export async function checkExplosion(
  { piece, member, bytes, bound, gzip }: Explosion,
  { proxy, upstream }: Target,
) {
  upstream.script = answerStation
  for (let i = 0; i < 2; i++) await request(proxy.url, pathFor(`chargingAvailability=calm-${nextId++}`))
  const id = `e-${nextId++}`
  const length = Math.floor(bytes / (piece.replace('#', '100000').length + 1))
  const list = `[${Array.from({ length }, (_, i) => piece.replace('#', String(100_000 + i))).join(',')}]`
  const inside = member === 'perPowerLevel' || member === 'current' ? `"${member}":${list}` : ''
  const outside = inside === '' ? `,"${member === 'type' ? 'kind' : member}":${list}` : ''
  const connector = `{"type":"T","availability":{${inside}}}`
  const body = Buffer.from(`{"chargingAvailability":"${id}","connectors":[${connector}]${outside}}`)
  upstream.script = gzip ? sendBody(gzipSync(body), { 'content-encoding': 'gzip' }) : sendBody(body)
  for (const ext of ['json', 'xml']) {
    const { status, text } = await request(proxy.url, pathFor(`chargingAvailability=${id}${bound}`, ext))
    ensure('an answer or UpstreamFailed', status === 200 || status === 502, status)
    ensure('a bounded body', Buffer.byteLength(text) <= MAX_BODY, text.length)
    if (ext === 'xml' && text.length < 100_000)
      ensure('well-formed', XMLValidator.validate(text) === true, text)
  }
}

interface Logging {
  readonly kind: 'file' | 'full' | 'closed'
  readonly lines: readonly number[]
}

/** Lines of these lengths, for a destination that takes them, is full, or is closed. */
export const anyLogging: fc.Arbitrary<Logging> = fc.record({
  kind: fc.constantFrom('file', 'full', 'closed'),
  lines: fc.array(fc.constantFrom(1, 100, 5_000, MAX_QUEUED_CHARACTERS - 1, MAX_QUEUED_CHARACTERS), {
    minLength: 1,
    maxLength: 40,
  }),
})

export async function checkLogging({ kind, lines }: Logging): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'evproxy-'))
  const file = join(folder, 'log')
  const fd = openSync(kind === 'full' ? '/dev/full' : file, 'w')
  if (kind === 'closed') closeSync(fd)
  let dropped = 0
  const log = createLogDestination(kind === 'closed' ? 1_000_000 : fd, (count) => (dropped += count))
  for (const length of lines) log.write(`${'x'.repeat(length - 1)}\n`)
  await log.flush()
  const written = kind === 'file' ? readFileSync(file, 'latin1').split('\n').length - 1 : 0
  ensure('each line is written or counted', written + dropped === lines.length, `${written} + ${dropped}`)
  if (kind !== 'closed') closeSync(fd)
  rmSync(folder, { recursive: true })
}
