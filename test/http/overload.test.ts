import type { ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import t from 'tap'
import { ServiceError, TOO_MUCH_WAITS } from '../../src/errors.ts'
import { BATCH_PATH } from '../../src/http/paths.ts'
import { ByteBudget } from '../../src/lib/byte-budget.ts'
import { WAITING_REQUEST_BYTES } from '../../src/lib/connections.ts'
import { pathFor } from '../support/request.ts'
import { until } from '../support/until.ts'
import { cacheWith, createTestServer, hitFor } from './public-server.ts'

/** Stations by what their lookup ends with. */
const cache = cacheWith((id) => {
  if (id.startsWith('full')) throw TOO_MUCH_WAITS
  if (id === 'open') throw new ServiceError('UpstreamUnavailable', { reason: 'the circuit is open' })
  return id === 'held' ? new Promise(() => {}) : hitFor(id)
})

function listen() {
  const counted = { overloads: 0 }
  return { counted, listener: { overloaded: () => void counted.overloads++ } }
}

await t.test('a request whose lookup has no room is counted, and no other 503', async (t) => {
  const { counted, listener } = listen()
  const { app } = await createTestServer(t, {}, { cache, listener })
  const counts = []
  for (const id of ['other', 'open', 'full']) {
    const { statusCode } = await app.inject(pathFor(`chargingAvailability=${id}`))
    counts.push([statusCode, counted.overloads])
  }
  t.strictSame(counts, [
    [200, 0],
    [503, 0],
    [503, 1],
  ])
})

await t.test('every item of a batch without room is counted', async (t) => {
  const { counted, listener } = listen()
  const { app } = await createTestServer(t, {}, { cache, listener })
  const query = (id: string) => ({ query: `/chargingAvailability.json?chargingAvailability=${id}` })
  const payload = { batchItems: ['full-1', 'other', 'open', 'full-2'].map(query) }
  const { statusCode } = await app.inject({ method: 'POST', url: BATCH_PATH, payload })
  t.strictSame({ statusCode, overloads: counted.overloads }, { statusCode: 200, overloads: 2 })
})

await t.test('a pipelined request without room is counted', async (t) => {
  const { counted, listener } = listen()
  const waiting = new ByteBudget(WAITING_REQUEST_BYTES)
  const { app } = await createTestServer(t, {}, { cache, listener, waiting })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.resetAndDestroy())
  const held = `GET ${pathFor('chargingAvailability=held')} HTTP/1.1\r\nHost: a\r\n\r\n`
  socket.write(held.repeat(2))
  await until('the second waits', () => waiting.used === WAITING_REQUEST_BYTES)
  t.equal(counted.overloads, 0)
  socket.write(held)
  await until('the third is counted', () => counted.overloads === 1)
  t.equal(waiting.used, WAITING_REQUEST_BYTES)
})

await t.test('a batch without room for its body is a counted 503 with the fields of others', async (t) => {
  const { counted, listener } = listen()
  const waiting = new ByteBudget(WAITING_REQUEST_BYTES + 1_000)
  const { app } = await createTestServer(t, {}, { cache, listener, waiting })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const post = async (length: number) => {
    const body = JSON.stringify({ batchItems: [] }).padEnd(length)
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(new URL(BATCH_PATH, url), { method: 'POST', headers, body })
    await response.text()
    return [response.status, response.headers.get('retry-after'), counted.overloads, waiting.used]
  }
  t.strictSame(
    [await post(999), await post(1_000), await post(1_001), await post(60_000)],
    [
      [200, null, 0, 0],
      [200, null, 0, 0],
      [503, '1', 1, 0],
      [503, '1', 2, 0],
    ],
  )
})

await t.test('connections that announce bodies and send none leave room for misses', async (t) => {
  const { listener } = listen()
  const waiting = new ByteBudget(8 * 2 ** 20) // about that of the image
  const { app } = await createTestServer(t, {}, { cache, listener, waiting })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const head = `POST ${BATCH_PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n`
  const sockets = Array.from({ length: 400 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => sockets.forEach((socket) => socket.resetAndDestroy()))
  for (const socket of sockets) socket.write(head)
  await until('all have come', () => waiting.used === 400 * WAITING_REQUEST_BYTES)
  t.ok(waiting.hasRoom(waiting.limit / 2), `${waiting.used} bytes`)
})

await t.test('files that wait for their turn take little, as all responses share them', async (t) => {
  const waiting = new ByteBudget(8 * 2 ** 20)
  const openapi = 'a'.repeat(1_000_000)
  const { app } = await createTestServer(t, { openapi }, { cache, waiting })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const responses: ServerResponse[] = []
  app.server.on('request', (_request, response: ServerResponse) => void responses.push(response))
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.resetAndDestroy())
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
  socket.write(get(pathFor('chargingAvailability=held')) + get('/openapi.yaml').repeat(5))
  const ended = () => responses.filter(({ writableEnded }) => writableEnded)
  await until('five wait for their turn', () => ended().length === 5)
  t.ok(ended().every(({ writableLength }) => writableLength > 1_000_000))
  t.ok(waiting.used >= 5 * WAITING_REQUEST_BYTES, `${waiting.used} bytes`)
  t.ok(waiting.used < 6 * WAITING_REQUEST_BYTES, `${waiting.used} bytes`)
})

await t.test(
  'connections with many requests behind a file that is not read leave room for misses',
  async (t) => {
    const { counted, listener } = listen()
    const waiting = new ByteBudget(3 * 98 * WAITING_REQUEST_BYTES)
    const openapi = 'a'.repeat(20_000_000) // more than the kernel takes
    const { app } = await createTestServer(t, { openapi }, { cache, listener, waiting })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const accepted: Socket[] = []
    app.server.on('connection', (socket: Socket) => void accepted.push(socket))
    const { port } = app.server.address() as AddressInfo
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
    const sockets = Array.from({ length: 3 }, () => connect(port, '127.0.0.1').on('error', () => {}))
    t.teardown(() => sockets.forEach((socket) => socket.resetAndDestroy()))
    for (const socket of sockets) socket.pause().write(get('/openapi.yaml').repeat(4) + get('/').repeat(95))
    await until('all wait', () => waiting.used === waiting.limit)
    await until('nothing is read', () => accepted.every(({ writableLength }) => writableLength > 0))
    const misses = Array.from({ length: 200 }, () => waiting.reserve(WAITING_REQUEST_BYTES))
    t.ok(misses.every((reservation) => reservation !== null))
    t.equal(counted.overloads, 3, 'the connections are counted')
  },
)
