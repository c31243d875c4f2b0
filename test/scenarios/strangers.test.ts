import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { MAX_REQUESTS_PER_CONNECTION } from '../../src/lib/connections.ts'
import { build, Process } from '../support/process.ts'
import { request } from '../support/request.ts'
import { answerStation, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { IMAGE_HEAP, IMAGE_SETTINGS } from '../support/image.ts'
import { until } from '../support/until.ts'

/*
 * What one stranger can do to a process with the heap of the image. Each case ended such a process, or stopped it for
 * seconds.
 */

const dir = await build()
const IMAGE = { ...IMAGE_SETTINGS, NODE_OPTIONS: IMAGE_HEAP, LOG_LEVEL: 'error' }
const MAX_RESIDENT_MB = 160

/** An upstream that never answers ids beginning with `hang`, and answers the others at once. */
async function startUpstream(t: Test): Promise<string> {
  const upstream = await ScriptedUpstream.start((call, response) => {
    if (!call.id.startsWith('hang')) answerStation(call, response)
  })
  t.teardown(() => upstream.stop())
  return upstream.origin
}

async function start(t: Test) {
  const service = new Process(dir, { ...IMAGE, LOG_LEVEL: 'info', TOMTOM_BASE_URL: await startUpstream(t) })
  t.teardown(() => service.child.kill('SIGKILL'))
  const { url, adminUrl } = await service.urls()
  const port = Number(new URL(url).port)
  const residentMb = () =>
    Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${service.child.pid}/status`, 'utf8'))?.[1]) / 1024
  return { service, url, adminUrl, port, residentMb }
}

const getOf = (target: string, headers = '') => `GET ${target} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`
const stationOf = (id: string) => `/search/2/chargingAvailability.json?chargingAvailability=${id}`

/** A connection that has sent these bytes, and what it has received. */
function open(t: Test, port: number, bytes: string): { socket: Socket; text: () => string } {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text = (text + chunk).slice(-2_000_000)))
  socket.write(bytes, 'latin1')
  t.teardown(() => socket.destroy())
  return { socket, text: () => text }
}

function answersIn(text: string): number {
  return text.split('HTTP/1.1 ').length - 1
}

/** The longest of some requests to /livez, in ms. */
async function slowestProbe(adminUrl: string, ms: number): Promise<number> {
  let longest = 0
  for (const end = performance.now() + ms; performance.now() < end;) {
    const before = performance.now()
    await request(adminUrl, '/livez')
    longest = Math.max(longest, performance.now() - before)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return longest
}

const BATCH_HEAD =
  'POST /search/2/batch/sync.json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n'

const ATTACKS: Record<string, (t: Test, port: number) => unknown> = {
  '10,000 pipelined requests for one cold station': (t, port) =>
    open(t, port, getOf(stationOf('hang-1')).repeat(10_000)),
  '3,000 cold stations': (t, port) =>
    Array.from({ length: 30 }, (_, i) =>
      open(t, port, Array.from({ length: 100 }, (_, j) => getOf(stationOf(`hang-${i}-${j}`))).join('')),
    ),
  '3,000 cold stations on as many connections': (t, port) =>
    Array.from({ length: 3_000 }, (_, i) => open(t, port, getOf(stationOf(`hang-${i}`)))),
  '20 connections with a slow miss and 700 hits behind it each': (t, port) =>
    Array.from({ length: 20 }, (_, i) =>
      open(t, port, getOf(stationOf(`hang-${i}`)) + getOf(stationOf('hot')).repeat(700)),
    ),
  '400 connections with a slow miss and 99 hits behind it each': (t, port) =>
    Array.from({ length: 400 }, (_, i) =>
      open(t, port, getOf(stationOf(`hang-${i}`)) + getOf(stationOf('hot')).repeat(99)),
    ),
  '1,200 connections with a body of 64 KB each that does not end': (t, port) =>
    Array.from({ length: 1_200 }, () => open(t, port, `${BATCH_HEAD}${' '.repeat(65_535)}`)),
  'a megabyte of requests for Swagger UI': (t, port) =>
    open(t, port, getOf('/docs/swagger-ui-bundle.js').repeat(20_000)).socket.pause(),
  '1,000 requests for the API description, compressed': (t, port) =>
    open(t, port, getOf('/openapi.yaml', 'Accept-Encoding: gzip\r\n').repeat(1_000)),
  'invalid heads of 64 KB': (t, port) =>
    Array.from({ length: 16 }, () =>
      open(
        t,
        port,
        getOf('/', `Origin: a${' '.repeat(60_000)}b\r\nTracking-ID: a${'\t'.repeat(4_000)}b\r\n`),
      ),
    ),
  'a megabyte of headers without a value': (t, port) => open(t, port, getOf('/', 'a:\r\n'.repeat(262_144))),
}

for (const [name, attack] of Object.entries(ATTACKS)) {
  await t.test(`the process survives ${name}`, async (t) => {
    const { service, url, adminUrl, port, residentMb } = await start(t)
    await request(url, stationOf('hot'))
    attack(t, port)
    await slowestProbe(adminUrl, 1_500)
    t.equal((await request(url, stationOf('hot'))).status, 200, 'hits are served meanwhile')
    t.equal((await request(url, '/healthz')).status, 200)
    const mb = residentMb()
    t.ok(mb < MAX_RESIDENT_MB, `${mb.toFixed(0)} MB`)
    t.equal(service.child.exitCode, null)
  })
}

await t.test(
  'requests beyond the bound of a connection get no response, and the connection closes',
  async (t) => {
    const { url, port } = await start(t)
    await request(url, stationOf('hot'))
    const counts = [
      MAX_REQUESTS_PER_CONNECTION - 1,
      MAX_REQUESTS_PER_CONNECTION,
      MAX_REQUESTS_PER_CONNECTION + 1,
      700,
    ]
    const seen = await Promise.all(
      counts.map(async (count) => {
        const { socket, text } = open(t, port, getOf(stationOf('hot')).repeat(count))
        await until(
          'they are answered',
          () => answersIn(text()) >= Math.min(count, MAX_REQUESTS_PER_CONNECTION),
        )
        const hasEnded = () => socket.closed || socket.readableEnded
        if (count >= MAX_REQUESTS_PER_CONNECTION) await until('the connection ends', hasEnded)
        await new Promise((resolve) => setTimeout(resolve, 200)) // for what must not come
        return [answersIn(text()), hasEnded()]
      }),
    )
    const most = MAX_REQUESTS_PER_CONNECTION
    t.strictSame(seen, [
      [most - 1, false],
      [most, true],
      [most, true],
      [most, true],
    ])
  },
)

await t.test('what is over the bound of all that waits is 503 with Retry-After', async (t) => {
  const { port } = await start(t)
  const opened = Array.from({ length: 3_000 }, (_, i) => open(t, port, getOf(stationOf(`hang-${i}`))))
  const rejected = () => opened.filter(({ text }) => text().startsWith('HTTP/1.1 503'))
  await until('some are rejected', () => rejected().length > 500)
  const [first] = rejected()
  t.match(first?.text(), /"code":"UpstreamUnavailable"/)
  t.match(first?.text(), /retry-after: 1\r\n/i)
})
