import type { Socket } from 'node:net'
import { connect } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { MIN_MAX_HEAD_BYTES, MIN_MAX_HEADERS } from '../../src/lib/head-limits.ts'
import { IMAGE_SETTINGS, MAX_MB } from '../support/image.ts'
import { build, Process } from '../support/process.ts'
import { request } from '../support/request.ts'
import { turnReport } from '../support/turn-watch.ts'
import { until } from '../support/until.ts'

/*
 * What the heads of many connections can do to a process with the heap of the image: no request is complete, and it
 * neither ends nor grows to 128 MB.
 */

const service = new Process(await build(), {
  ...IMAGE_SETTINGS,
  TOMTOM_BASE_URL: 'http://127.0.0.1:9',
})
t.teardown(() => service.child.kill('SIGKILL'))
const { url, adminUrl } = await service.urls()

async function connections(t: Test, count: number): Promise<Socket[]> {
  const { port } = new URL(url)
  const sockets = Array.from({ length: count }, () =>
    connect(Number(port), '127.0.0.1').on('error', () => {}),
  )
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  await until('all are connected', () => sockets.every(({ connecting }) => !connecting))
  return sockets
}

const POST = 'POST /search/2/batch/sync.json HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n'
/** So many headers, with so many bytes in their names and values. */
function headersOf(count: number, bytes: number): string {
  const value = 'x'.repeat(bytes / count - 4)
  return Array.from({ length: count }, (_, i) => `${String(i).padStart(4, 'a')}:${value}\r\n`).join('')
}

const SHORT_HEADERS = 'a:\r\n'.repeat(16_000)
const MOST_HEADERS = headersOf(MIN_MAX_HEADERS - 5, MIN_MAX_HEAD_BYTES - 200)
/** What is not complete, and so is held, and on how many connections. */
const HEADS: Readonly<Record<string, readonly [head: string, count: number]>> = {
  'heads of 64 KB': [`GET / HTTP/1.1\r\n${SHORT_HEADERS}`, 2_000],
  'trailers of 64 KB': [`${POST}\r\n0\r\n${SHORT_HEADERS}`, 2_000],
  'heads of 16 KB': [`GET / HTTP/1.1\r\n${headersOf(95, 15_900)}`, 2_000],
  'the largest heads': [`GET / HTTP/1.1\r\n${MOST_HEADERS}`, 2_000],
  'trailers behind the largest heads': [`${POST}${MOST_HEADERS}\r\n1\r\n{\r\n0\r\n${MOST_HEADERS}`, 1_000],
}

for (const [name, [head, count]] of Object.entries(HEADS)) {
  await t.test(`${name} without end on ${count} connections do not exhaust the heap`, async (t) => {
    await turnReport(service.child)
    const sockets = await connections(t, count)
    for (const socket of sockets) socket.write(head)
    await until('all are sent', () =>
      sockets.every(({ closed, writableLength }) => closed || writableLength === 0),
    )
    for (let i = 0; i < 40; i++) await request(adminUrl, '/livez')
    const { largestMb } = await turnReport(service.child)
    t.ok(largestMb < MAX_MB, `${largestMb.toFixed(1)} MB`)
  })
}

await t.test('beside many connections a usual head is answered, and one of 16 KB is 431', async (t) => {
  const send = (bytes: number) => request(url, '/healthz', { headers: { cookie: 'x'.repeat(bytes) } })
  await until('the others have left', async () => (await send(12_000)).status === 200)
  await connections(t, 500)
  t.equal((await send(7_000)).status, 200)
  const { status, text } = await send(12_000)
  t.equal(status, 431)
  t.match(JSON.parse(text), { detailedError: { code: 'HeadersTooLarge' } })
})
