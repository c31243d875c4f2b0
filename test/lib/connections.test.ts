import { once } from 'node:events'
import type { RequestListener, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { pipeline, Transform } from 'node:stream'
import type { Test } from 'tap'
import t from 'tap'
import { ByteBudget } from '../../src/lib/byte-budget.ts'
import { countUnsent, isLastResponse } from '../../src/lib/connection.ts'
import {
  MAX_POSTS_PER_CONNECTION,
  MAX_REQUESTS_PER_CONNECTION,
  WAITING_REQUEST_BYTES,
} from '../../src/lib/connections.ts'
import { closeOnEndOfInput, MAX_BYTES_BEHIND_OPEN, shareBody } from '../../src/lib/held-responses.ts'
import { connectionsIn, httpServer } from '../../src/lib/http-server.ts'
import { MAX_BODY_BYTES } from '../../src/lib/request-body.ts'
import { until } from '../support/until.ts'

async function start(t: Test, handler: RequestListener, budget = Number.POSITIVE_INFINITY) {
  const waiting = new ByteBudget(budget)
  /** Connections that the budget has ended. */
  const ended = { count: 0 }
  const server = httpServer({
    waiting,
    onOverload: (_request, response) => void response.writeHead(503).end(),
    onOverloadEnd: () => void ended.count++,
  })(handler, {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  t.teardown(() => (socket.destroy(), server.closeAllConnections(), server.close()))
  /** The server waits for the client to read. */
  const isFull = async () => {
    const [peer] = await accepted
    await until('the response waits for its reader', () => peer.writableLength > 0)
  }
  return { server, socket, waiting, ended, isFull }
}

/** Ends unread connections, again and again for so long. */
async function checkUnread(server: Server, unreadMs: number, forMs: number): Promise<void> {
  const endsAt = performance.now() + forMs
  while (performance.now() < endsAt) {
    connectionsIn(server).endUnread(unreadMs)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

await t.test('a connection whose response is not read is closed', async (t) => {
  const { server, socket, isFull } = await start(
    t,
    (_request, response) => void response.end(Buffer.alloc(20_000_000)),
  )
  socket.pause()
  socket.write(REQUEST)
  await isFull()
  const closed = once(socket, 'close')
  await checkUnread(server, 100, 400)
  socket.resume()
  await closed
  t.ok(socket.bytesRead < 20_000_000, `${socket.bytesRead} bytes`)
})

await t.test('a client that sends more while it reads nothing is disconnected, too', async (t) => {
  const { server, socket, isFull } = await start(
    t,
    (_request, response) => void response.end(Buffer.alloc(20_000_000)),
  )
  socket.pause()
  socket.write(REQUEST)
  await isFull()
  const sending = setInterval(() => socket.write(REQUEST), 20)
  t.teardown(() => clearInterval(sending))
  await checkUnread(server, 200, 600)
  clearInterval(sending)
  socket.resume()
  await until('the connection is closed', () => socket.closed)
  t.ok(socket.bytesRead < 20_000_000, `${socket.bytesRead} bytes`)
})

await t.test('a connection whose response is read slowly stays open', async (t) => {
  const { server, socket, isFull } = await start(
    t,
    (_request, response) => void response.end(Buffer.alloc(20_000_000)),
  )
  socket.pause()
  socket.write(REQUEST)
  await isFull()
  for (let i = 0; i < 16; i++) {
    socket.resume()
    await new Promise((resolve) => setTimeout(resolve, 20))
    socket.pause()
    await checkUnread(server, 1_000, 80)
  }
  socket.resume()
  await until('all of it has arrived', () => socket.bytesRead > 20_000_000)
  t.pass()
})

await t.test('requests behind another take from the budget and give it back', async (t) => {
  const held: (() => void)[] = []
  const handler: RequestListener = (_request, response) => void held.push(() => response.end('x'))
  const { socket, waiting } = await start(t, handler, 2 * WAITING_REQUEST_BYTES)
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.write(REQUEST.repeat(3))
  await until('three are held', () => held.length === 3)
  t.equal(waiting.used, 2 * WAITING_REQUEST_BYTES)
  socket.write(REQUEST.repeat(2))
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(held.length, 3, 'no other is handled')
  for (const release of held) release()
  await until('the connection is closed', () => socket.readableEnded)
  t.strictSame(
    [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    ['200', '200', '200', '503'],
  )
  t.equal(waiting.used, 0)
})

await t.test('a body takes from the budget what has come of it', async (t) => {
  const held: ServerResponse[] = []
  const handler: RequestListener = (request, response) => {
    request.on('error', () => {}).resume()
    held.push(response)
  }
  const chunked = (length: number) => `${length.toString(16)}\r\n${'x'.repeat(length)}\r\n`
  const seenOf = async (framing: string, body: string, more: number) => {
    const { socket, waiting } = await start(t, handler, WAITING_REQUEST_BYTES + more)
    const before = held.length
    let text = ''
    socket.setEncoding('latin1').on('data', (part: string) => (text += part))
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`)
    await until('the request is held, or has no room', () => held.length > before || text !== '')
    const atFirst = waiting.used
    socket.write(body)
    await until('its body has come', () => text !== '' || waiting.used > atFirst)
    const { used } = waiting
    if (text === '') held[before]?.writeHead(200, { connection: 'close' }).end()
    await until('the connection is closed', () => socket.readableEnded)
    return [text.split(' ', 2)[1], atFirst, used, waiting.used]
  }
  const base = WAITING_REQUEST_BYTES
  const long = `Content-Length: ${2 * MAX_BODY_BYTES}`
  const cases: [framing: string, body: string, more: number][] = [
    ['Content-Length: 1000', 'x'.repeat(1_000), 1_000],
    ['Content-Length: 1000', 'x'.repeat(1_000), 999],
    ['Content-Length: 1000', 'x'.repeat(999), 999],
    ['Transfer-Encoding: chunked', chunked(2_000), 2_000],
    ['Transfer-Encoding: chunked', chunked(2_000), 1_999],
    [long, 'x'.repeat(2 * MAX_BODY_BYTES), MAX_BODY_BYTES],
  ]
  const seen = []
  for (const [framing, body, more] of cases) seen.push(await seenOf(framing, body, more))
  t.match(seen, [
    ['200', base, base + 1_000, 0],
    ['503', base, /./, 0],
    ['200', base, base + 999, 0],
    ['200', base, base + 2_000, 0],
    ['503', base, /./, 0],
    ['200', base, /./, 0],
  ])
  t.strictSame((await seenOf('Content-Length: 1000', '', -1)).slice(0, 2), ['503', 0])
})

await t.test('a body that has no room before it is read is a 503 once it is', async (t) => {
  const failures: string[] = []
  const handler: RequestListener = (request, response) => {
    // The first bytes have come with the head.
    setTimeout(() => request.on('error', () => failures.push('failed')).resume(), 20)
    response.once('close', () => failures.push('closed'))
  }
  const { socket } = await start(t, handler, WAITING_REQUEST_BYTES + 10)
  let text = ''
  socket.setEncoding('latin1').on('data', (part: string) => (text += part))
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n${'x'.repeat(11)}`)
  await until('the connection is closed', () => socket.readableEnded)
  t.match(text, /^HTTP\/1\.1 503 /)
  t.strictSame(failures, ['closed'])
})

await t.test('a body that nobody reads and that has no room changes no response', async (t) => {
  const handler: RequestListener = (_request, response) =>
    void setTimeout(() => response.writeHead(200, { connection: 'close' }).end(), 20)
  const { socket } = await start(t, handler, WAITING_REQUEST_BYTES + 10)
  let text = ''
  socket.setEncoding('latin1').on('data', (part: string) => (text += part))
  socket.write(`GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n${'x'.repeat(11)}`)
  await until('the connection is closed', () => socket.readableEnded)
  t.match(text, /^HTTP\/1\.1 200 /)
})

await t.test('a response that waits for its turn takes its length from the budget', async (t) => {
  const LENGTH = 100_000
  const held: ServerResponse[] = []
  const handler: RequestListener = (_request, response) => void held.push(response)
  const { socket, waiting } = await start(t, handler, 2 * LENGTH)
  let length = 0
  socket.on('data', (chunk: Buffer) => (length += chunk.length))
  socket.write(REQUEST.repeat(4))
  await until('four are held', () => held.length === 4)
  held[3]?.end('x'.repeat(LENGTH))
  const used = waiting.used - 2 * WAITING_REQUEST_BYTES
  t.ok(used > LENGTH && used < LENGTH + 1_000, `${used} bytes`)
  held[0]?.end('x')
  await until('it is the turn of the second', () => held[1]?.socket !== null)
  held[1]?.end('x'.repeat(LENGTH)) // takes nothing: it is sent
  held[2]?.end('x')
  await until('all have arrived', () => length > 2 * LENGTH)
  await until('nothing is taken', () => waiting.used === 0)
  t.pass()
})

await t.test('a connection whose responses take more than the budget is closed', async (t) => {
  const held: ServerResponse[] = []
  const handler: RequestListener = (_request, response) => void held.push(response)
  const { socket, waiting, ended } = await start(t, handler, 200_000)
  const closed = once(socket.resume(), 'close')
  socket.write(REQUEST.repeat(4))
  await until('four are held', () => held.length === 4)
  for (const response of held.slice(1)) response.end('x'.repeat(100_000))
  await closed
  await until('nothing is taken', () => waiting.used === 0)
  t.equal(socket.bytesRead, 0)
  t.equal(ended.count, 1, 'it is reported')
})

await t.test('of requests with a body in one packet, five are answered', async (t) => {
  const post = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}'
  const counts = [1, 0, -1].map((less) => MAX_POSTS_PER_CONNECTION - less)
  const seen = await Promise.all(
    [...counts, 400].map(async (count) => {
      let handled = 0
      const { socket } = await start(t, (request, response) => {
        handled++
        request.resume().on('end', () => response.end('x'))
      })
      let text = ''
      socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
      socket.write(post.repeat(count))
      const answers = () => text.split('HTTP/1.1 200').length - 1
      await until('they are answered', () => answers() >= Math.min(count, MAX_POSTS_PER_CONNECTION))
      if (count >= MAX_POSTS_PER_CONNECTION) await until('the connection ends', () => socket.readableEnded)
      await new Promise((resolve) => setTimeout(resolve, 50)) // for what must not come
      return [handled, answers(), socket.readableEnded]
    }),
  )
  const most = MAX_POSTS_PER_CONNECTION
  t.strictSame(seen, [
    [most - 1, most - 1, false],
    [most, most, true],
    [most, most, true],
    [most, most, true],
  ])
})

/** Everything that comes on the connection. */
function received(socket: Socket): () => string {
  let text = ''
  socket.setEncoding('latin1').on('data', (part: string) => (text += part))
  return () => text
}

await t.test('a body in chunks of a byte is handed on in parts, of one packet at most', async (t) => {
  const LENGTH = 65_536
  const parts: number[] = []
  const { socket } = await start(t, (request, response) => {
    request.on('data', (part: Buffer) => parts.push(part.length)).on('end', () => response.end('x'))
  })
  const text = received(socket)
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`)
  socket.write('1\r\nx\r\n'.repeat(LENGTH))
  socket.write('0\r\n\r\n')
  await until('it is answered', () => text().startsWith('HTTP/1.1 200'))
  t.equal(
    parts.reduce((sum, length) => sum + length, 0),
    LENGTH,
  )
  t.ok(parts.length < 1_000, `${parts.length} parts`)
  t.ok(Math.max(...parts) <= Math.ceil(65_536 / '1\r\nx\r\n'.length), `${Math.max(...parts)} bytes`)
})

await t.test('a body in chunks that nobody reads ends its connection, whole or not', async (t) => {
  const ends = await Promise.all(
    ['1\r\nx\r\n', '1\r\nx\r\n0\r\n\r\n'].map(async (body) => {
      const { socket } = await start(t, (_request, response) => void response.end('x'))
      const text = received(socket)
      socket.write(`GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}`)
      await until('the connection ends', () => socket.readableEnded)
      return [text().split(' ')[1], /^connection: (.*)\r$/im.exec(text())?.[1]]
    }),
  )
  t.strictSame(ends, [
    ['200', 'close'],
    ['200', 'close'],
  ])
})

await t.test('what comes behind a dropped request is not parsed', async (t) => {
  const post = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}'
  const statuses = await Promise.all(
    [0, 1].map(async (dropped) => {
      const held: ServerResponse[] = []
      const { server, socket } = await start(t, (_request, response) => void held.push(response))
      server.on('clientError', (_error, peer) => peer.end('HTTP/1.1 400 x\r\n\r\n'))
      const accepted = once(server, 'connection') as Promise<[Socket]>
      const text = received(socket)
      const posts = post.repeat(MAX_POSTS_PER_CONNECTION + dropped)
      socket.write(posts)
      await until('five are held', () => held.length === MAX_POSTS_PER_CONNECTION)
      socket.write('no HTTP\r\n\r\n')
      const [peer] = await accepted
      await until('all of it has come', () => peer.bytesRead > posts.length)
      for (const response of held) response.end('x')
      await until('the connection ends', () => socket.readableEnded)
      return [...text().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
    }),
  )
  t.strictSame(statuses, [['400'], Array.from({ length: MAX_POSTS_PER_CONNECTION }, () => '200')])
})

/** A pipeline that fails takes the socket from its request. */
const failToRead: RequestListener = (request, response) => {
  const failing = new Transform({ transform: (_chunk, _encoding, done) => done(new Error('unreadable')) })
  pipeline(request, failing, () => setImmediate(() => response.end('x')))
}

/** Node then removes its own listeners from the connection. */
const TAKEN_OVER = {
  'an upgrade': 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
  'a CONNECT': 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n',
}
for (const [name, text] of Object.entries(TAKEN_OVER)) {
  await t.test(
    `a connection that breaks after ${name} behind its last request ends no process`,
    async (t) => {
      let count = 0
      const { server, socket, waiting } = await start(t, () => void count++)
      server.on('connect', () => {})
      const accepted = once(server, 'connection') as Promise<[Socket]>
      socket.write(REQUEST.repeat(MAX_REQUESTS_PER_CONNECTION) + text)
      await until('all are in progress', () => count === MAX_REQUESTS_PER_CONNECTION)
      const [peer] = await accepted
      t.ok(peer.listenerCount('error') > 0)
      peer.destroy(new Error('write ECONNRESET'))
      await until('nothing is taken', () => waiting.used === 0)
    },
  )
}

await t.test('a request whose body cannot be read ends its connection after the response', async (t) => {
  const heads = [
    'Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n',
    'Content-Length: 9\r\nConnection: close\r\n\r\nhi',
  ]
  const ends = await Promise.all(
    heads.map(async (head) => {
      const seen: boolean[] = []
      const { server, socket } = await start(t, (request, response) => {
        failToRead(request, response)
        response.once('close', () => seen.push(request.socket === null, isLastResponse(response)))
      })
      socket.resume().write(`POST / HTTP/1.1\r\nHost: a\r\n${head}`)
      await once(socket, 'close')
      await once(server.close(), 'close')
      return seen
    }),
  )
  t.strictSame(ends, [
    [true, false],
    [true, false],
  ])
})

await t.test('what is not sent yet of a response takes from the budget until it is', async (t) => {
  const LENGTH = 20_000_000
  const handler: RequestListener = (_request, response) => {
    response.end(Buffer.alloc(LENGTH))
    countUnsent(response)
  }
  const { socket, waiting, isFull } = await start(t, handler, 2 * LENGTH)
  socket.pause()
  socket.write(REQUEST)
  await isFull()
  t.ok(waiting.used > LENGTH / 2, `${waiting.used} bytes`)
  socket.resume()
  await until('nothing is taken', () => waiting.used === 0)
  t.ok(socket.bytesRead > LENGTH / 2)
})

await t.test('a connection whose response is longer than the budget is closed', async (t) => {
  const handler: RequestListener = (_request, response) => {
    response.end(Buffer.alloc(20_000_000))
    countUnsent(response)
  }
  const { socket, waiting } = await start(t, handler, 1_000_000)
  const closed = once(socket.resume(), 'close')
  socket.write(REQUEST)
  await closed
  t.ok(socket.bytesRead < 20_000_000)
  t.equal(waiting.used, 0)
})

await t.test('a connection that breaks gives back what its requests have taken', async (t) => {
  let count = 0
  const { socket, waiting } = await start(t, () => void count++)
  socket.write(REQUEST.repeat(10))
  await until('ten are in progress', () => count === 10)
  t.equal(waiting.used, 9 * WAITING_REQUEST_BYTES)
  socket.resetAndDestroy()
  await until('nothing is taken', () => waiting.used === 0)
})

await t.test('responses that end after their connection has broken take nothing', async (t) => {
  const held: ServerResponse[] = []
  const { socket, waiting } = await start(t, (_request, response) => void held.push(response))
  socket.write(REQUEST.repeat(10))
  await until('ten are in progress', () => held.length === 10)
  socket.resetAndDestroy()
  await until('nothing is taken', () => waiting.used === 0)
  for (const response of held) response.end('x'.repeat(100_000))
  t.equal(waiting.used, 0)
})

/** The first response is held open, until it is ended; those behind it have 10,000 bytes each; of 16 or 64 KB Node stops reading. */
async function holdOpen(t: Test) {
  const held: ServerResponse[] = []
  let count = 0
  const ctx = await start(t, (_request, response) => {
    if (count++ > 0) return void response.end('x'.repeat(10_000))
    held.push(response)
    setImmediate(closeOnEndOfInput, response) // as a route does that awaits something
  })
  return { ...ctx, held, requests: () => count }
}

for (const [name, leave] of [
  ['breaks', (socket: Socket) => void socket.resetAndDestroy()],
  ['ends', (socket: Socket) => void socket.end()],
] as const) {
  await t.test(
    `a connection that ${name} behind a response that is held open gives back everything`,
    async (t) => {
      const used = await Promise.all(
        [[12], [2, 10]].map(async (packets) => {
          const { socket, held, waiting, requests } = await holdOpen(t)
          for (const [i, packet] of packets.entries()) {
            socket.write(REQUEST.repeat(packet))
            await until('they are handled', () => requests() >= (i === 0 ? packet : 4))
          }
          let isClosed = false
          held[0]?.once('close', () => (isClosed = true))
          leave(socket)
          await until('it is noticed', () => isClosed, 3_000)
          return waiting.used
        }),
      )
      t.strictSame(used, [0, 0])
    },
  )
}

await t.test('a connection with much behind a response that is held open ends', async (t) => {
  const most = Math.floor(MAX_BYTES_BEHIND_OPEN / WAITING_REQUEST_BYTES)
  const isEndedWith = async (requests: number, lengths: readonly number[], { open = 0, shared = 0 } = {}) => {
    const held: ServerResponse[] = []
    const { socket, waiting } = await start(t, (_request, response) => void held.push(response))
    socket.write(REQUEST.repeat(1 + requests))
    await until('all are handled', () => held.length === 1 + requests)
    closeOnEndOfInput(held[open] as ServerResponse)
    for (const [i, length] of lengths.entries()) {
      const response = held[i + 1] as ServerResponse
      shareBody(response, shared)
      response.end(Buffer.alloc(length))
    }
    const { destroyed } = (held[0] as ServerResponse).req.socket
    socket.destroy()
    await until('nothing is taken', () => waiting.used === 0)
    return destroyed
  }
  t.strictSame(
    [
      await isEndedWith(most, []),
      await isEndedWith(most + 1, []),
      await isEndedWith(2, [50_000, 70_000]),
      await isEndedWith(2, [50_000, 90_000]),
      await isEndedWith(2, [2_000_000, 2_000_000], { shared: 2_000_000 }),
      await isEndedWith(most + 2, [], { open: 2 }),
      await isEndedWith(2, [90_000], { open: 2 }),
    ],
    [false, true, false, true, false, false, false],
  )
})

await t.test('requests and bodies that come behind a response that is held open end it too', async (t) => {
  const post = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${MAX_BODY_BYTES}\r\n\r\n${'x'.repeat(MAX_BODY_BYTES)}`
  for (const sent of [REQUEST.repeat(50), post.repeat(2)]) {
    const held: ServerResponse[] = []
    const { socket } = await start(t, (request, response) => {
      request.on('error', () => {}).resume()
      held.push(response)
    })
    socket.write(REQUEST)
    await until('the first is handled', () => held.length === 1)
    closeOnEndOfInput(held[0] as ServerResponse)
    socket.resume().write(sent)
    await until('the connection is closed', () => socket.closed)
  }
  t.pass()
})

await t.test(
  'what waits behind a response that is held open is sent after it, and the connection ends',
  async (t) => {
    const { socket, held } = await holdOpen(t)
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    socket.write(REQUEST.repeat(12))
    await until('the first is handled', () => held.length === 1)
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    held[0]?.end('first')
    await once(socket, 'end')
    t.equal(text.split('HTTP/1.1 200').length - 1, 12)
  },
)

await t.test('the time limits of both listeners', async (t) => {
  const { server } = await start(t, () => {})
  const { headersTimeout, requestTimeout, keepAliveTimeout } = server
  t.strictSame(
    { headersTimeout, requestTimeout, keepAliveTimeout },
    {
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      keepAliveTimeout: 72_000,
    },
  )
})
