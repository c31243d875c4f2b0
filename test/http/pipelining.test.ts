import { once } from 'node:events'
import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { sendBytes } from '../support/raw-http.ts'
import { answerStation, Barrier } from '../support/scripted-upstream.ts'
import { perCall, waitFor } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { UUID } from './cases.ts'
import { CANARY, getAndClose, getAndKeep, HOST, statusesIn, TARGET } from './raw-requests.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
/** Bytes of buffers that are in use; V8 frees those of the last turn with the second collection. */
async function bufferBytes(): Promise<number> {
  gc()
  await new Promise(setImmediate)
  gc()
  return process.memoryUsage().arrayBuffers
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const GARBAGE = `${CANARY}\r\n\r\n`

await t.test('several requests on one connection', async (t) => {
  let held = new Barrier()
  const { proxy, upstream } = await startService(t, {
    env: { CACHE_TTL: '0' },
    script: perCall(({ id }) => (id === 'held' ? waitFor(held) : answerStation)),
  })
  const { port } = proxy.addresses.public

  await t.test('an error response has the format of its own request, not of the one before', async (t) => {
    const asXml = (request: string) => request.replace('.json', '.xml')
    const invalid = [
      getAndKeep('one').replace(HOST, `${HOST}Bad Header\r\n`),
      getAndKeep('one').replace('GET', 'FROB'),
      getAndKeep('one').replace(HOST, `${HOST}Content-Length: x\r\n`),
    ]
    const received = await Promise.all(
      invalid
        .flatMap((it) => [getAndKeep('one') + asXml(it), asXml(getAndKeep('one')) + it])
        .map(async (bytes) => {
          const { text } = await sendBytes(port, bytes)
          const last = text.slice(text.lastIndexOf('HTTP/1.1 '))
          return [...statusesIn(text), /^content-type: (\S+);/m.exec(last)?.[1]]
        }),
    )
    t.strictSame(
      received,
      invalid.flatMap(() => [
        [200, 400, 'application/xml'],
        [200, 400, 'application/json'],
      ]),
    )
  })

  await t.test('pipelined requests are answered in order', async (t) => {
    const { text } = await sendBytes(port, getAndKeep('one') + getAndKeep('two') + getAndClose(TARGET))
    t.strictSame(statusesIn(text), [200, 200, 200])
    t.ok(text.indexOf('"chargingAvailability":"one"') < text.indexOf('"chargingAvailability":"two"'))
  })

  await t.test('garbage after a hit is rejected after the response to the hit', async (t) => {
    const { text } = await sendBytes(port, getAndKeep('one') + GARBAGE)
    t.strictSame(statusesIn(text), [200, 400])
    t.notMatch(text, CANARY)
  })

  await t.test('garbage after a miss is rejected after the response to the miss', async (t) => {
    const { text } = await sendBytes(port, getAndKeep('fetched') + GARBAGE)
    t.strictSame(statusesIn(text), [200, 400])
    t.match(text, '"chargingAvailability":"fetched"')
  })

  await t.test('garbage after several misses is rejected after all their responses', async (t) => {
    const responses = sendBytes(port, getAndKeep('held') + getAndKeep('three') + GARBAGE)
    await upstream.arrived(upstream.calls.length + 1)
    held.open()
    const { text } = await responses
    t.strictSame(statusesIn(text), [200, 200, 400])
  })

  await t.test('garbage after a request is answered without the Tracking-ID of that request', async (t) => {
    const withId = getAndKeep('one').replace(
      HOST,
      `${HOST}Tracking-ID: one\r\nOrigin: https://one.example\r\n`,
    )
    const { text } = await sendBytes(port, withId + GARBAGE)
    const [first, second] = [...text.matchAll(/^tracking-id: (.*)$/gm)].map(([, id]) => id)
    t.equal(first, 'one')
    t.match(second, UUID)
  })

  await t.test('CONNECT after a miss is rejected after the response to the miss', async (t) => {
    const barrier = new Barrier()
    const calls = upstream.calls.length
    held = barrier
    const connecting = 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTracking-ID: connect\r\n\r\n'
    const responses = sendBytes(port, getAndKeep('held') + getAndKeep('one') + connecting + CANARY)
    await upstream.arrived(calls + 1)
    barrier.open()
    const { text } = await responses
    t.strictSame(statusesIn(text), [200, 200, 405])
    t.match(text, /^tracking-id: connect\r\n/m)
  })

  await t.test('what comes after garbage is not kept while a response is held', async (t) => {
    const barrier = new Barrier()
    const calls = upstream.calls.length
    held = barrier
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    socket.write(getAndKeep('held') + GARBAGE)
    await upstream.arrived(calls + 1)
    const before = await bufferBytes()
    const sent = Buffer.alloc(2 ** 20, 'x')
    for (let i = 0; i < 24; i++) await new Promise((resolve) => void socket.write(sent, resolve))
    const grownMb = ((await bufferBytes()) - before) / 2 ** 20
    barrier.open()
    await once(socket, 'close')
    t.strictSame(statusesIn(text), [200, 400])
    t.ok(grownMb < 8, `${grownMb.toFixed(1)} MB`)
  })

  await t.test('a HEAD that is no valid HTTP is rejected without a body', async (t) => {
    const { text } = await sendBytes(port, `HEAD / HTTP/1.1\r\n${HOST}Bad Header\r\n\r\n`)
    t.strictSame(statusesIn(text), [400])
    t.ok(text.endsWith('\r\n\r\n'))
  })

  await t.test('a body that fails behind a held response is rejected after it', async (t) => {
    const post = `POST /search/2/batch/sync.json HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n`
    const isInvalid = `${post}Transfer-Encoding: chunked\r\n\r\n${CANARY}\r\n`
    const isCutOff = `${post}Content-Length: 100\r\n\r\n{`
    const received = []
    for (const [bytes, ends] of [
      [isInvalid, false],
      [isCutOff, true],
    ] as const) {
      const barrier = new Barrier()
      const calls = upstream.calls.length
      held = barrier
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      let text = ''
      socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
      socket.write(getAndKeep('held') + bytes)
      if (ends) socket.end()
      await upstream.arrived(calls + 1)
      await new Promise((resolve) => setTimeout(resolve, 20))
      barrier.open()
      const ended = once(socket, 'end').then(() => true)
      received.push([await Promise.race([ended, later(5_000)]), ...statusesIn(text)])
      socket.destroy()
    }
    t.strictSame(received, [
      [true, 200, 400],
      [true, 200, 400],
    ])
  })

  await t.test('a request whose body is invalid gets exactly one response', async (t) => {
    const target = '/search/2/chargingAvailability.json?chargingAvailability=one'
    const codings = [
      ['chunked', `${CANARY}\r\n`],
      ['xchunked', '0\r\n\r\n'],
    ]
    const requests = ['GET', 'POST'].flatMap((method) =>
      codings.map(
        ([coding, body]) =>
          `${method} ${target} HTTP/1.1\r\n${HOST}Transfer-Encoding: ${coding}\r\n\r\n${body}`,
      ),
    )
    const received = await Promise.all(
      requests.map(async (bytes) => statusesIn((await sendBytes(port, bytes)).text)),
    )
    t.strictSame(
      received.filter((statuses) => statuses.length !== 1 || ![400, 405].includes(statuses[0] ?? 0)),
      [],
    )
  })

  await t.test('an error response keeps the connection if the end of its request is known', async (t) => {
    const invalid = `GET /search/2/chargingAvailability.json HTTP/1.1\r\n${HOST}\r\n`
    const { text } = await sendBytes(port, invalid + getAndKeep('one') + getAndClose('/nothing'))
    t.strictSame(statusesIn(text), [400, 200, 404])
  })
})
