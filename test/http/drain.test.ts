import { once } from 'node:events'
import { Agent, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import fastify from 'fastify'
import type { Test } from 'tap'
import t from 'tap'
import { createDrain } from '../../src/http/drain.ts'
import { TestClock } from '../support/clock.ts'
import { until } from '../support/until.ts'

/** A server with a route that answers when `release` is called, and its drain on a test clock. */
async function setup(t: Test) {
  const app = fastify()
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  app.get('/', async () => 'ok')
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

await t.test('a connection that has sent nothing does not delay the drain', async (t) => {
  const { port, clock, start, connections } = await setup(t)
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await until('the server has accepted it', async () => (await connections()) === 1)
  const closed = once(socket, 'close')
  const drained = start({ delayMs: 0, timeoutMs: 1_000 })
  await clock.advance(0)
  await drained
  await closed
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
