import { EventEmitter } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { abortOnDisconnect, ClientDisconnectedError } from '../../src/http/client-disconnect.ts'
import { ServiceError } from '../../src/errors.ts'
import type { RequestFailure } from '../../src/events.ts'
import { BATCH_PATH } from '../../src/http/paths.ts'
import { Streams } from '../../src/http/live/streams.ts'
import type { Watchers } from '../../src/watch/watchers.ts'
import { pathFor } from '../support/request.ts'
import { until } from '../support/until.ts'
import { cacheWith, createTestServer } from './public-server.ts'

function setup(writableFinished: boolean) {
  const raw = Object.assign(new EventEmitter(), { writableFinished })
  return { raw, signal: abortOnDisconnect({ raw } as unknown as FastifyReply) }
}

await t.test('a connection that closes before its response was written aborts the signal', async (t) => {
  const { raw, signal } = setup(false)
  t.notOk(signal.aborted)
  raw.emit('close')
  t.ok(signal.reason instanceof ClientDisconnectedError)
})

await t.test(
  'a connection that closes after its response was written does not abort the signal',
  async (t) => {
    const { raw, signal } = setup(true)
    raw.emit('close')
    t.notOk(signal.aborted)
  },
)

await t.test('a disconnected client is no error and is counted as 499 with its result', async (t) => {
  const reported: unknown[] = []
  const { app } = await createTestServer(
    t,
    {},
    {
      cache: cacheWith((_id, onWait) => {
        onWait?.()
        return Promise.reject(new ClientDisconnectedError())
      }),
      listener: {
        requestFailed: (failure: RequestFailure) => void reported.push(failure),
        requestAnswered: (...details) => void reported.push(details.slice(0, 3)),
      },
    },
  )
  const controller = new AbortController()
  const response = app.inject({
    url: pathFor('chargingAvailability=a'),
    headers: { host: 'x' },
    signal: controller.signal,
  })
  await new Promise((resolve) => setImmediate(resolve))
  controller.abort()
  await t.rejects(response)
  t.strictSame(reported, [['json', 499, 'miss']])
})

await t.test('a client that leaves before it is the turn of its batch starts no calls', async (t) => {
  const asked: string[] = []
  const { app } = await createTestServer(
    t,
    {},
    { cache: cacheWith((id) => (asked.push(id), Promise.reject(new ServiceError('NotFound')))) },
  )
  await app.listen({ host: '127.0.0.1', port: 0 })
  const left = new Promise<void>((resolve) => {
    let requests = 0
    app.server.on('request', ({ socket }) => {
      if (++requests === 2) setImmediate(() => socket.once('close', () => resolve()).destroy())
    })
  })
  const batchOf = (id: string) => {
    const body = JSON.stringify({
      batchItems: [{ query: `/chargingAvailability.json?chargingAvailability=${id}` }],
    })
    return `POST ${BATCH_PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  }
  const { port } = app.server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  socket.resume().write(batchOf('first') + batchOf('second') + batchOf('third'))
  await left
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
  t.strictSame(asked, ['first'])
})

await t.test('a client that leaves before its stream or long poll begins holds none open', async (t) => {
  const streams = new Streams(10)
  const watchers = { watch: () => () => {}, current: () => null } as unknown as Watchers
  const { app } = await createTestServer(t, {}, { live: { streams, watchers: () => watchers } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  let left = 0
  app.server.on('request', ({ socket }) => void socket.once('close', () => left++).destroy())
  const head = 'HTTP/1.1\r\nHost: a\r\n'
  const targets = [
    `GET /events?chargingAvailability=a ${head}\r\n`,
    `GET ${pathFor('chargingAvailability=a')} ${head}If-None-Match: *\r\nPrefer: wait=60\r\n\r\n`,
  ]
  for (const target of targets)
    connect(port, '127.0.0.1')
      .on('error', () => {})
      .resume()
      .write(target)
  await until('both have left', () => left === 2)
  await import('ip-address') // the route loads it with its first client
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
  t.strictSame([streams.count('stream'), streams.count('long_poll')], [0, 0])
})
