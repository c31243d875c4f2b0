import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import t from 'tap'
import type { ParserError } from '../../src/http/protocol-errors.ts'
import { parseRawRequest } from '../../src/http/protocol-errors.ts'
import { sendBytes } from '../support/raw-http.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { UUID } from './cases.ts'
import { createTestServer } from './public-server.ts'
import { finalResponse, getAndClose, HOST, statusesIn } from './raw-requests.ts'

await t.test('parseRawRequest', async (t) => {
  const parse = (packet: string, bytesParsed?: number) =>
    parseRawRequest({ rawPacket: Buffer.from(packet), bytesParsed } as unknown as ParserError)
  const first = 'GET /first.json HTTP/1.1\r\nHost: a\r\nOrigin: https://first.example\r\n\r\n'
  const second = 'POST /second.xml HTTP/1.1\r\ntracking-id:  mine \r\nBad Header\r\n\r\n'

  await t.test('method, target, Origin and Tracking-ID are those of the only request', async (t) => {
    t.strictSame(parse(second, 40), {
      method: 'POST',
      target: '/second.xml',
      headers: { 'tracking-id': 'mine' },
    })
  })

  await t.test('a request before the invalid one is skipped', async (t) => {
    t.strictSame(parse(first + second, first.length + 40), {
      method: 'POST',
      target: '/second.xml',
      headers: { 'tracking-id': 'mine' },
    })
  })

  await t.test('a fault in the end of the head does not skip that head', async (t) => {
    t.strictSame(parse(first, first.length), {
      method: 'GET',
      target: '/first.json',
      headers: { origin: 'https://first.example' },
    })
  })

  await t.test('input without a request line or without bytes is an empty request', async (t) => {
    const empty = { method: '', target: '', headers: {} }
    t.strictSame(
      [parse('\xff\xfe garbage'), parse(''), parseRawRequest(new Error('no packet'))],
      [empty, empty, empty],
    )
  })
})

await t.test('error responses outside of the request lifecycle', async (t) => {
  const { proxy } = await startService(t, {
    env: { CORS_ORIGINS: 'https://app.example', ACCESS_LOG: 'true' },
  })
  const { port } = proxy.addresses.public
  const path = '/search/2/chargingAvailability.json'
  const send = async (bytes: string) => finalResponse(await sendBytes(port, bytes))
  const cases: [name: string, status: number, bytes: (headers: string) => string][] = [
    ['a-bad-header', 400, (headers) => getAndClose(`${path}?x`, `${headers}Bad Header\r\n`)],
    ['a-tunnel', 405, (headers) => `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}${headers}\r\n`],
    ['an-undecodable-target', 400, (headers) => getAndClose('/%zz?x', headers)],
  ]

  await t.test('a listed Origin and a valid Tracking-ID are returned and logged', async (t) => {
    const received = await Promise.all(
      cases.map(async ([name, , bytes]) => {
        const { headers } = await send(bytes(`Origin: https://app.example\r\ntracking-id:${name} \r\n`))
        const logged = proxy.logs.filter(
          ({ msg, trackingId }) => msg === 'request answered' && trackingId === name,
        )
        return [
          headers['access-control-allow-origin'],
          headers['tracking-id'],
          logged.map((line) => line['status']),
        ]
      }),
    )
    t.strictSame(
      received,
      cases.map(([name, status]) => ['https://app.example', name, [status]]),
    )
  })

  await t.test('another Origin is not returned, and an invalid Tracking-ID is replaced', async (t) => {
    const received = await Promise.all(
      cases.map(async ([, , bytes]) => {
        const { headers } = await send(bytes('Origin: https://evil.example\r\ntracking-id:not valid \r\n'))
        return [headers['access-control-allow-origin'], UUID.test(headers['tracking-id'] ?? '')]
      }),
    )
    t.strictSame(
      received,
      cases.map(() => [undefined, true]),
    )
  })

  await t.test('the access log has paths without queries', async (t) => {
    const paths = new Set(proxy.logs.flatMap((line) => (line['path'] === undefined ? [] : [line['path']])))
    t.strictSame(paths, new Set(['', '/%zz', path]))
  })
})

await t.test('a body that fails ends its request', async (t) => {
  const { app } = await createTestServer(t)
  const accepted: Socket[] = []
  app.server.prependListener('connection', (socket: Socket) => accepted.push(socket))
  const received: number[] = []
  app.server.prependListener('request', () => received.push(0))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const head = `POST /search/2/batch/sync.json HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n`
  const unfinished = `${head}Content-Length: 100\r\n\r\n{`

  await t.test('a chunk that is not valid is 400, and the connection is closed', async (t) => {
    const { status, headers } = finalResponse(
      await sendBytes(port, `${head}Transfer-Encoding: chunked\r\n\r\nZZ\r\n`, 20_000),
    )
    t.strictSame([status, headers['connection']], [400, 'close'])
  })

  await t.test('a client that ends its half of the connection in the body gets 400', async (t) => {
    const socket = connect(port, '127.0.0.1')
    socket.end(unfinished)
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    t.strictSame(statusesIn(chunk.toString()), [400])
  })

  /** Node reports an unfinished request after half a minute; the event is the same. */
  const timeOut = async (bytes: string, requests: number) => {
    received.length = 0
    const response = sendBytes(port, bytes, 20_000)
    await until('the requests arrive', () => received.length === requests)
    const error = Object.assign(new Error('timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
    app.server.emit('clientError', error, accepted.at(-1))
    return response
  }

  await t.test('a body that is not complete in time is 408, and the connection is closed', async (t) => {
    const { status, headers, text } = finalResponse(await timeOut(unfinished, 1))
    t.match(text, '"code":"RequestTimeout"')
    t.strictSame([status, headers['connection']], [408, 'close'])
  })

  await t.test('the response to an earlier request of the connection comes first', async (t) => {
    const earlier = `GET /healthz HTTP/1.1\r\n${HOST}\r\n`
    t.strictSame(statusesIn((await timeOut(earlier + unfinished, 2)).text), [200, 408])
  })
})
