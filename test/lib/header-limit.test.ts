import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import t from 'tap'
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
  const server = httpServer({ waiting: null, onOverload: () => {}, onOverloadEnd: () => {} })(
    ({ headers }, response) => void response.end(`${Object.keys(headers).length} headers`),
    {},
  )
  server.on('connection', (socket: Socket) => limitHeaders(socket, 40))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => (server.closeAllConnections(), server.close()))
  const { port } = server.address() as AddressInfo
  const responses = []
  for (const count of [39, 40, 41, 42, 99]) {
    const headers = Array.from({ length: count }, (_, i) => `x-${i}: a\r\n`).join('')
    const socket = connect(port, '127.0.0.1')
    socket.write(`GET / HTTP/1.1\r\n${headers}\r\n`)
    const [response] = (await once(socket, 'data')) as [Buffer]
    responses.push(String(response))
    socket.destroy()
  }
  const orRejected = /41 headers|^HTTP\/1\.1 431/ // since Node 26 by the parser
  t.match(responses, ['39 headers', '40 headers', '41 headers', orRejected, orRejected])
})
