import { once } from 'node:events'
import { Agent, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import fastify from 'fastify'
import type { Test } from 'tap'
import t from 'tap'
import { createDrain } from '../../src/http/drain.ts'
import { httpServer } from '../../src/lib/http-server.ts'
import { TestClock } from '../support/clock.ts'
import { until } from '../support/until.ts'

/** A server with a route that answers when `release` is called, and its drain on a test clock. */
async function setup(t: Test, large = Buffer.alloc(0)) {
  const app = fastify({
    serverFactory: httpServer({ waiting: null, onOverload: () => {}, onOverloadEnd: () => {} }),
  })
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  app.get('/', async () => 'ok')
  app.get('/large', async () => large)
  app.get('/last', async (_request, reply) => reply.header('connection', 'close').send(large))
  let slowRequests = 0
  app.get('/slow', async () => {
    slowRequests++
    await released
    return 'slow'
  })
  const drain = createDrain(app)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  const clock = new TestClock()
  let isDrained = false
  const start = async (options: { delayMs: number; timeoutMs: number }) => {
    await drain(options, clock)
    isDrained = true
  }
  const connections = () =>
    new Promise<number>((resolve) => app.server.getConnections((_error, count) => resolve(count)))
  return {
    app,
    port,
    clock,
    start,
    release,
    connections,
    isDrained: () => isDrained,
    slowRequests: () => slowRequests,
  }
}

function requestOn(agent: Agent, port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ agent, port, path, host: '127.0.0.1' }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
}

await t.test('a server without used connections drains after its delay', async (t) => {
  const { clock, start, app, isDrained } = await setup(t)
  const drained = start({ delayMs: 100, timeoutMs: 1_000 })
  await clock.advance(99)
  t.ok(app.server.listening)
  await clock.advance(1)
  await drained
  t.ok(isDrained())
  t.notOk(app.server.listening)
})

await t.test('a used keep-alive connection extends the delay to 250 ms and is then closed', async (t) => {
  const { port, clock, start, app } = await setup(t)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  t.equal(await requestOn(agent, port, '/'), 'ok')
  const drained = start({ delayMs: 0, timeoutMs: 1_000 })
  await clock.advance(249)
  t.ok(app.server.listening, 'the connection may carry another request')
  await clock.advance(1)
  await drained
})

await t.test('a connection that has sent nothing is closed when it is a second old', async (t) => {
  const { port, clock, start, connections } = await setup(t)
  const socket = connect(port, '127.0.0.1')
  const openedAt = performance.now()
  socket.on('error', () => {})
  await until('the server has accepted it', async () => (await connections()) === 1)
  const closed = once(socket, 'close')
  let isClosed = false
  void closed.then(() => (isClosed = true))
  const drained = start({ delayMs: 0, timeoutMs: 60_000 })
  await until('it is closed', async () => (await clock.advance(50), isClosed))
  const ageMs = performance.now() - openedAt
  t.ok(ageMs > 900 && ageMs < 3_000, `${ageMs} ms`)
  await drained
})

await t.test('a request that a silent connection sends during the drain is answered', async (t) => {
  const { port, clock, start, connections } = await setup(t)
  const socket = connect(port, '127.0.0.1')
  let received = ''
  socket.setEncoding('latin1').on('data', (text: string) => (received += text))
  await until('the server has accepted it', async () => (await connections()) === 1)
  const drained = start({ delayMs: 0, timeoutMs: 60_000 })
  await clock.advance(500)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('it is answered', async () => (await clock.advance(1), received.includes('200 OK')))
  await clock.advance(100)
  await drained
})

await t.test('a client that reads slowly gets all bytes', async (t) => {
  const { app, port, clock, start } = await setup(t, Buffer.alloc(5_000_000))
  const socket = connect(port, '127.0.0.1')
  let bytes = 0
  const requested = once(app.server, 'request')
  socket.pause().on('data', (chunk: Buffer) => (bytes += chunk.length))
  socket.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n')
  await requested
  const drained = start({ delayMs: 0, timeoutMs: 60_000 })
  await clock.advance(5_000)
  const ended = once(socket, 'close')
  socket.resume()
  await until('the connection is closed', async () => (await clock.advance(50), socket.closed))
  await ended
  t.ok(bytes > 5_000_000, `${bytes} bytes`)
  await drained
})

await t.test('a client that sends its next request meanwhile gets all bytes', async (t) => {
  const { app, port, clock, start } = await setup(t, Buffer.alloc(5_000_000))
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  let bytes = 0
  const requested = once(app.server, 'request')
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  })
  socket.pause().write('GET /last HTTP/1.1\r\nHost: a\r\n\r\n')
  const drained = start({ delayMs: 0, timeoutMs: 60_000 })
  await requested
  socket.resume()
  await until('the connection is closed', async () => (await clock.advance(50), socket.closed))
  t.ok(bytes > 5_000_000, `${bytes} bytes`)
  await drained
})

await t.test('a request in flight completes before the drain does', async (t) => {
  const { port, clock, start, release, slowRequests, isDrained } = await setup(t)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const response = requestOn(agent, port, '/slow')
  await until('the request is in flight', () => slowRequests() === 1)
  const drained = start({ delayMs: 0, timeoutMs: 60_000 })
  await clock.advance(10_000)
  t.notOk(isDrained())
  release()
  t.equal(await response, 'slow')
  await clock.advance(100)
  await drained
})

await t.test('after the timeout, connections with a request in flight are destroyed', async (t) => {
  const { port, clock, start, release, slowRequests } = await setup(t)
  t.teardown(release)
  const response = requestOn(new Agent(), port, '/slow').catch(
    (error: Error & { code: string }) => error.code,
  )
  await until('the request is in flight', () => slowRequests() === 1)
  const drained = start({ delayMs: 0, timeoutMs: 5_000 })
  await clock.advance(5_000)
  await drained
  t.equal(await response, 'ECONNRESET')
})
