import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import t from 'tap'
import { connectionOf } from '../../src/lib/connection.ts'
import { limitHeaders, MAX_HEADERS, maxHeadersBeside, MIN_MAX_HEADERS } from '../../src/lib/header-limit.ts'
import { httpServer } from '../../src/lib/http-server.ts'

await t.test('beside many connections a request may have fewer headers, down to a minimum', (t) => {
  t.strictSame([0, 1, 64, 65, 1_279, 1_280, 1_281, 1_000_000].map(maxHeadersBeside), [
    MAX_HEADERS,
    MAX_HEADERS,
    MAX_HEADERS,
    1_969,
    MIN_MAX_HEADERS,
    MIN_MAX_HEADERS,
    MIN_MAX_HEADERS,
    MIN_MAX_HEADERS,
  ])
  t.end()
})

await t.test('a request with more headers than its connection may have has one more', async (t) => {
  const counts: number[] = []
  const server = httpServer({ waiting: null, onOverload: () => {}, onOverloadEnd: () => {} })(
    ({ headers, socket }, response) => {
      counts.push(Object.keys(headers).length)
      response.end(`${connectionOf(socket)?.maxHeaders}`)
    },
    {},
  )
  server.on('connection', (socket: Socket) => limitHeaders(socket, 40))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => (server.closeAllConnections(), server.close()))
  const { port } = server.address() as AddressInfo
  for (const count of [39, 40, 41, 42, 99]) {
    const headers = Array.from({ length: count }, (_, i) => `x-${i}: a\r\n`).join('')
    const socket = connect(port, '127.0.0.1')
    socket.write(`GET / HTTP/1.1\r\n${headers}\r\n`)
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()
  }
  t.strictSame(counts, [39, 40, 41, 41, 41])
})
