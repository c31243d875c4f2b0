import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { startService } from '../support/service.ts'

const BODY_BYTES = 4 * 2 ** 20
const LENGTH = `Content-Length: ${BODY_BYTES}`
const ROUTE = '/search/2/chargingAvailability.json'

/** Heads of requests whose body nobody reads, with the status of the response. */
const REQUESTS = {
  'a batch that is too large': [
    `POST /search/2/batch/sync.json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${LENGTH}`,
    413,
  ],
  'a GET with a body': [`GET /healthz HTTP/1.1\r\nHost: a\r\n${LENGTH}`, 400],
  'a method that is not allowed': [`POST ${ROUTE} HTTP/1.1\r\nHost: a\r\n${LENGTH}`, 405],
  'a path that does not exist': [`PUT /nothing HTTP/1.1\r\nHost: a\r\n${LENGTH}`, 404],
  'a body in one chunk': [
    `POST ${ROUTE} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${BODY_BYTES.toString(16)}`,
    405,
  ],
  CONNECT: ['CONNECT a:1 HTTP/1.1\r\nHost: a:1', 405],
  'a head that is no HTTP': ['GET /healthz HTTP/1.1\r\nno header', 400],
} as const

/** A thread of its own, because a client that shares the event loop with the service never sends while that responds. */
const CLIENT = `
  const { connect } = require('node:net')
  const { parentPort, workerData: { port, head, length } } = require('node:worker_threads')
  let text = ''
  const socket = connect(port, '127.0.0.1')
  socket.on('data', (bytes) => (text += bytes.toString('latin1')))
  socket.on('error', () => {}).on('close', () => parentPort.postMessage(Number(text.split(' ', 2)[1] ?? 0)))
  socket.pause().write(head + '\\r\\n\\r\\n')
  socket.write(Buffer.alloc(length, 'x'), () => socket.resume())
`

/** The status for a client that reads nothing until it has sent everything; 0 if the connection broke before. */
async function statusFor(port: number, head: string): Promise<number> {
  const worker = new Worker(CLIENT, { eval: true, workerData: { port, head, length: BODY_BYTES } })
  const [status] = (await once(worker, 'message')) as [number]
  return status
}

await t.test('a client that sends a whole body before it reads gets the response', async (t) => {
  const { proxy } = await startService(t)
  const { port } = proxy.addresses.public
  for (const [name, [head, status]] of Object.entries(REQUESTS)) {
    await t.test(name, async (t) => {
      const statuses = await Promise.all(Array.from({ length: 10 }, () => statusFor(port, head)))
      t.strictSame(new Set(statuses), new Set([status]))
    })
  }
})
