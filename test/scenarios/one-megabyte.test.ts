import type { Socket } from 'node:net'
import { connect } from 'node:net'
import t from 'tap'
import { readExposition } from '../support/exposition.ts'
import { IMAGE_SETTINGS, MAX_MB, MAX_TURN_MS } from '../support/image.ts'
import { build, Process } from '../support/process.ts'
import { request } from '../support/request.ts'
import { ScriptedUpstream, sendJson } from '../support/scripted-upstream.ts'
import { connector, level, station } from '../support/stations.ts'
import { turnReport } from '../support/turn-watch.ts'
import { until } from '../support/until.ts'

/*
 * What one connection that sends a megabyte can do to a process with the heap of the image: no turn of its event loop
 * takes 100 ms, so that a probe is answered, and it does not grow to 128 MB.
 */

const MEGABYTE = 1_000_000
/** Each is some turns of the event loop: more than the kernel needs for a megabyte. */
const PROBES = 40
const MAX_ATTEMPTS = 3
/** By station; those not named have three. */
const CONNECTORS: Readonly<Record<string, number>> = { big: 180, huge: 2_000 }

const getOf = (target: string, headers = '') => `GET ${target} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`
const stationOf = (id: string, more = '', ext = 'json') =>
  `/search/2/chargingAvailability.${ext}?chargingAvailability=${id}${more}`
const POST = 'POST /search/2/batch/sync.json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n'
const CHUNKED = 'Transfer-Encoding: chunked\r\n\r\n'
const A_BYTE = '1\r\n \r\n'
const postOf = (body: string) => `${POST}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
const batchOf = (queryOf: (i: number) => string) =>
  JSON.stringify({
    batchItems: Array.from({ length: 100 }, (_, i) => ({
      query: `/chargingAvailability.json?chargingAvailability=${queryOf(i)}`,
    })),
  })
const eventsOf = (idOf: (i: number) => string) =>
  `/events?${Array.from({ length: 100 }, (_, i) => `chargingAvailability=${idOf(i)}`).join('&')}`
const chunksOf = (body: string) => Array.from(body, (character) => `1\r\n${character}\r\n`).join('')

/** The `i`th piece of what a connection sends; there are as many as a megabyte takes. */
const SHAPES: Readonly<Record<string, (i: number) => string>> = {
  'blank lines': () => '\r\n',
  blanks: () => ' ',
  'blanks in a header': () => getOf('/healthz', `Origin: a${' '.repeat(14_000)}b\r\n`),
  'tabs in a header': () => getOf(stationOf('hot'), `Tracking-ID: a${'\t'.repeat(14_000)}b\r\n`),
  'headers without a value': (i) => (i === 0 ? 'GET / HTTP/1.1\r\n' : 'a:\r\n'),
  'many headers': () => getOf(stationOf('hot'), 'a: b\r\n'.repeat(1_900)),
  'entity tags': () => getOf(stationOf('hot'), `If-None-Match: ${'W/"a",'.repeat(2_400)}"b"\r\n`),
  'addresses of proxies': () => getOf(stationOf('hot'), `X-Forwarded-For: ${'1.1.1.1,'.repeat(1_800)}\r\n`),
  'percent signs': (i) => getOf(stationOf('hot', `&a${i}=${'%41'.repeat(4_000)}`)),
  'names of connectors': (i) => getOf(stationOf('hot', `&connectorSet=${'a,'.repeat(7_000)}b${i}`)),
  hits: () => getOf(stationOf('hot')),
  'hits in XML, compressed': () => getOf(stationOf('big', '', 'xml'), 'Accept-Encoding: gzip\r\n'),
  'hits with another filter each': (i) =>
    getOf(
      stationOf('big', `&connectorSet=T&minPowerKW=${i}.${i}`, i % 2 === 0 ? 'xml' : 'json'),
      'Accept-Encoding: gzip\r\n',
    ),
  'hits of a huge answer with another filter each': (i) =>
    getOf(stationOf('huge', `&connectorSet=T&minPowerKW=${i}.${i}`)),
  misses: (i) => getOf(stationOf(`cold-${i}`)),
  'misses that are never answered': (i) => getOf(stationOf(`hang-${i}`)),
  'static files': () => getOf('/docs/swagger-ui-bundle.js'),
  'static files, compressed': () => getOf('/openapi.yaml', 'Accept-Encoding: gzip\r\n'),
  'unknown paths': (i) => getOf(`/${i}`),
  preflights: () =>
    getOf(stationOf('hot'), 'Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n').replace(
      'GET',
      'OPTIONS',
    ),
  'long polls': () => getOf(stationOf('hot'), 'If-None-Match: *\r\nPrefer: wait=60\r\n'),
  'batches of hits': () => postOf(batchOf(() => 'hot')),
  'batches of misses': (i) => postOf(batchOf((j) => `batch-${i}-${j}`)),
  'batches of misses that are never answered': (i) => postOf(batchOf((j) => `hang-${i}-${j}`)),
  'batches with another filter each': (i) => postOf(batchOf((j) => `big&minPowerKW=${j}.${i}`)),
  'batches of a huge answer with another filter each': (i) =>
    postOf(batchOf((j) => `huge&minPowerKW=${j}.${i}`)),
  'batches of 64 KB': (i) => postOf(batchOf((j) => `hot&n=${i}-${j}`).padEnd(65_536)),
  'batches of empty objects': () => postOf(`{"batchItems":[${'{},'.repeat(21_000)}{}]}`),
  'batches in chunks of a byte': () => `${POST}${CHUNKED}${chunksOf(batchOf(() => 'hot'))}0\r\n\r\n`,
  'a body in chunks of a byte without end': (i) => (i === 0 ? POST + CHUNKED : A_BYTE),
  'chunks of a byte after a 100 Continue': (i) =>
    i === 0 ? `${POST}Expect: 100-continue\r\n${CHUNKED}` : A_BYTE,
  'chunks of a byte for a path without a body': (i) =>
    i === 0 ? getOf('/healthz').replace('\r\n\r\n', `\r\n${CHUNKED}`) : A_BYTE,
  'hits with ever new filters and a wait': (i) =>
    getOf(stationOf('huge', `&minPowerKW=${i}.5`, 'xml'), 'Prefer: wait=1\r\nAccept-Encoding: gzip\r\n'),
  'chunks of a byte behind an event stream': (i) =>
    i === 0 ? getOf(eventsOf((j) => `event-${j}`)) + POST.replace('batch', 'b') + CHUNKED : A_BYTE,
  'chunks with extensions': (i) => (i === 0 ? POST + CHUNKED : '1;a\r\n \r\n'),
  trailers: (i) => (i === 0 ? `${POST}${CHUNKED}0\r\n` : 'a:\r\n'),
  'the shortest requests behind misses that are never answered': (i) =>
    i < 100 ? getOf(stationOf(`hang-${i}`)) : 'GET / HTTP/1.1\r\n\r\n',
  'event streams of a hundred stations': (i) => getOf(eventsOf((j) => `event-${i}-${j}`)),
  'event streams of long ids': (i) => getOf(eventsOf((j) => `event-${i}-${j}`.padEnd(110, 'x'))),
  'heads of event streams': (i) => getOf(eventsOf((j) => `head-${i}-${j}`)).replace('GET', 'HEAD'),
}

function megabyteOf(piece: (i: number) => string): string {
  const pieces: string[] = []
  for (let length = 0, i = 0; length < MEGABYTE; i++) {
    const next = piece(i)
    pieces.push(next)
    length += next.length
  }
  return pieces.join('').slice(0, MEGABYTE)
}

const upstream = await ScriptedUpstream.start(({ id }, response) => {
  if (id.startsWith('hang')) return
  const length = CONNECTORS[id] ?? 3
  const connectors = Array.from({ length }, (_, i) => connector('T', level(22, 1, 0), level(i, 0, 1)))
  sendJson(response, station(id, ...connectors))
})
t.teardown(() => upstream.stop())
const service = new Process(await build(), { ...IMAGE_SETTINGS, TOMTOM_BASE_URL: upstream.origin })
t.teardown(() => service.child.kill('SIGKILL'))
const { url, adminUrl } = await service.urls()

interface Cost {
  readonly statuses: ReadonlySet<number>
  readonly slowestMs: number
  readonly largestMb: number
}

async function costOf(bytes: string): Promise<Cost> {
  for (const id of ['hot', 'big', 'huge']) await request(url, stationOf(id))
  await turnReport(service.child) // forgets what was before
  const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  socket.resume().write(bytes, 'latin1')
  const statuses = new Set<number>()
  for (let i = 0; i < PROBES; i++) statuses.add((await request(adminUrl, '/livez')).status)
  const report = await turnReport(service.child)
  socket.destroy()
  return { statuses, ...report }
}

const isLittle = ({ slowestMs, largestMb }: Cost) => slowestMs < MAX_TURN_MS && largestMb < MAX_MB

for (const [name, piece] of Object.entries(SHAPES)) {
  await t.test(`a megabyte of ${name} neither stops the process nor makes it grow`, async (t) => {
    const bytes = megabyteOf(piece)
    let cost = await costOf(bytes)
    for (let i = 1; i < MAX_ATTEMPTS && !isLittle(cost); i++) cost = await costOf(bytes)
    t.strictSame(cost.statuses, new Set([200]))
    t.ok(isLittle(cost), `${cost.slowestMs.toFixed(1)} ms, ${cost.largestMb.toFixed(1)} MB`)
  })
}

/** The service has seen what was sent to it before. */
async function someTurns(): Promise<void> {
  for (let i = 0; i < 3; i++) await request(adminUrl, '/livez')
}

/** Whether nothing waits. */
async function isAtRest(): Promise<boolean> {
  const { text } = await request(adminUrl, '/metrics')
  return readExposition(text).value('evproxy_waiting_bytes') === 0
}

await t.test('afterwards nothing of it counts among what waits', async (t) => {
  await until('nothing waits', isAtRest)
  t.pass()
})

await t.test('batches on twelve connections at once do not exhaust the heap', async (t) => {
  await request(url, stationOf('big'))
  await turnReport(service.child)
  const sockets = Array.from({ length: 12 }, (_, c) => {
    const batches = Array.from({ length: 5 }, (_, k) =>
      postOf(batchOf((j) => `big&minPowerKW=${j}.${c}${k}`)),
    )
    const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
    socket.resume().write(batches.join('') + getOf('/healthz', 'Connection: close\r\n'))
    return socket
  })
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  await until('all connections have ended', () => sockets.every(({ closed }) => closed), 60_000)
  const { largestMb } = await turnReport(service.child)
  t.equal((await request(adminUrl, '/livez')).status, 200)
  t.ok(largestMb < MAX_MB, `${largestMb.toFixed(1)} MB`)
})

await t.test('batches that nobody reads do not exhaust the heap', async (t) => {
  await request(url, stationOf('big'))
  await turnReport(service.child)
  const sockets: Socket[] = []
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  for (let i = 0; i < 20; i++) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
    sockets.push(socket)
    socket.once('data', () => socket.pause())
    socket.write(postOf(batchOf(() => 'big')))
    await until('its answer begins', () => socket.bytesRead > 0 || socket.closed)
  }
  const { largestMb } = await turnReport(service.child)
  t.equal((await request(adminUrl, '/livez')).status, 200)
  t.ok(largestMb < MAX_MB, `${largestMb.toFixed(1)} MB`)
})

await t.test('chunks of a byte on forty connections at once do not exhaust the heap', async (t) => {
  await turnReport(service.child)
  const head = `${POST}Connection: close\r\nExpect: 100-continue\r\n${CHUNKED}`
  const sockets = Array.from({ length: 40 }, () =>
    connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {}),
  )
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  await until('nothing waits', isAtRest)
  for (const socket of sockets) socket.resume().write(head)
  await until('all may send their bodies', () => sockets.every(({ bytesRead }) => bytesRead > 0))
  service.child.kill('SIGSTOP') // so that a packet of each has come when it reads the first
  const sent = sockets.map(({ bytesWritten }) => bytesWritten)
  for (const socket of sockets) socket.write(`${A_BYTE.repeat(30_000)}0\r\n\r\n`)
  await until('all have sent a packet', () =>
    sockets.every((socket, i) => socket.bytesWritten > (sent[i] ?? 0)),
  )
  service.child.kill('SIGCONT')
  await until('all connections have ended', () => sockets.every(({ closed }) => closed), 60_000)
  const { largestMb } = await turnReport(service.child)
  t.equal((await request(adminUrl, '/livez')).status, 200)
  t.ok(largestMb < MAX_MB, `${largestMb.toFixed(1)} MB`)
})

/** What a hundred connections send at once: a packet each, and the end. */
const PACKETS: Readonly<Record<string, string>> = {
  'chunks of a byte': `${POST}Connection: close\r\n${CHUNKED}${A_BYTE.repeat(10_000)}0\r\n\r\n`,
  hits: getOf(stationOf('hot')).repeat(700),
  'the shortest requests': 'GET / HTTP/1.1\r\n\r\n'.repeat(3_500),
}

for (const [name, packet] of Object.entries(PACKETS)) {
  await t.test(`packets of ${name} on a hundred connections do not stop the process`, async (t) => {
    await request(url, stationOf('hot'))
    const sockets = Array.from({ length: 100 }, () =>
      connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {}),
    )
    t.teardown(() => sockets.forEach((socket) => socket.destroy()))
    await until('all are connected', () => sockets.every(({ connecting }) => !connecting))
    await someTurns()
    await turnReport(service.child)
    service.child.kill('SIGSTOP') // so that all packets have come when it reads the first
    for (const socket of sockets) socket.resume().write(packet, 'latin1')
    service.child.kill('SIGCONT')
    const isEnded = () => sockets.every(({ closed }) => closed)
    for (let i = 0; i < PROBES || !isEnded(); i++) await request(adminUrl, '/livez')
    const { slowestMs } = await turnReport(service.child)
    t.ok(slowestMs < MAX_TURN_MS, `${slowestMs.toFixed(1)} ms`)
  })
}
