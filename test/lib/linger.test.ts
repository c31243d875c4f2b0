import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { mock } from 'node:test'
import type { Test } from 'tap'
import t from 'tap'
import { linger, LINGER_MS, lingerOnClose } from '../../src/lib/linger.ts'

/** Both sides of a connection whose client keeps its side open when the server ends its own. */
async function connected(t: Test): Promise<{ server: Socket; client: Socket }> {
  const listener = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {})
  const [server] = (await once(listener, 'connection')) as [Socket]
  server.on('error', () => {})
  t.teardown(() => (client.destroy(), server.destroy(), listener.close()))
  return { server, client }
}

await t.test('a connection lingers until its client ends it', async (t) => {
  const { server, client } = await connected(t)
  server.write('bye')
  linger(server)
  const received: Buffer[] = []
  client.on('data', (bytes: Buffer) => received.push(bytes))
  client.write(Buffer.alloc(4 * 2 ** 20))
  await once(client, 'end')
  t.equal(Buffer.concat(received).toString(), 'bye')
  t.notOk(server.destroyed)
  client.end()
  await once(server, 'close')
})

await t.test('a connection that lingers does not keep the request whose body has not come', async (t) => {
  const listener = createHttpServer((_request, response) => void response.end()).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const client = connect(port, '127.0.0.1').on('error', () => {})
  t.teardown(() => (client.destroy(), listener.close()))
  client.resume().write('POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\n')
  const [server] = (await once(listener, 'connection')) as [Socket & { parser: { incoming: unknown } }]
  const { parser } = server
  lingerOnClose(server, () => true)
  await once(client, 'end')
  t.notOk(server.destroyed)
  t.equal(parser.incoming, null)
})

await t.test('a client that goes on sending is cut off after two seconds', async (t) => {
  const { server, client } = await connected(t)
  client.resume()
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  linger(server)
  await once(server, 'finish')
  mock.timers.tick(LINGER_MS - 1)
  t.notOk(server.destroyed)
  mock.timers.tick(1)
  t.ok(server.destroyed)
})

await t.test('what was written is sent, however late its client reads', async (t) => {
  const { server, client } = await connected(t)
  const sent = Buffer.alloc(8 * 2 ** 20, 'x')
  server.write(sent)
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  linger(server)
  client.end()
  await once(server, 'end')
  mock.timers.tick(LINGER_MS)
  let received = 0
  client.on('data', (bytes: Buffer) => (received += bytes.length))
  await once(client, 'end')
  t.equal(received, sent.length)
})

await t.test('a connection whose client has sent everything is closed at once', async (t) => {
  const { server, client } = await connected(t)
  client.resume()
  lingerOnClose(server, () => false)
  server.destroySoon()
  await once(server, 'close')
  t.notOk(client.writableEnded)
})

await t.test('a connection whose client may be sending lingers when the server closes it', async (t) => {
  const { server, client } = await connected(t)
  client.resume()
  lingerOnClose(server, () => true)
  server.destroySoon()
  await once(client, 'end')
  t.notOk(server.destroyed)
  client.end()
  await once(server, 'close')
})
