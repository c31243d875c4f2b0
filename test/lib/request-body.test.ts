import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import t from 'tap'
import { MAX_READING_MS, ReadTurns } from '../../src/lib/read-turns.ts'
import {
  boundBody,
  hasBody,
  MAX_SMALL_PARTS,
  MIN_PART_BYTES,
  USUAL_HEAD_BYTES,
} from '../../src/lib/request-body.ts'

const CHUNKED: IncomingMessage['headers'] = { 'transfer-encoding': 'chunked' }

/** A request whose body comes from the test; `parts` are the lengths of what its reader has received. */
function receive({ isRead = true, headers = CHUNKED, reading = new ReadTurns(() => []) } = {}) {
  const socket = new Socket()
  const request = new IncomingMessage(socket)
  request.headers = headers
  const response = new ServerResponse(request)
  boundBody(request, response, { reading, tryTake: () => true, onOverload: () => {} })
  const parts: number[] = []
  if (isRead) request.on('data', (part: Buffer) => parts.push(part.length))
  const push = (length: number) => request.push(Buffer.alloc(length, 'x'))
  return { socket, request, response, parts, push }
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))
const sum = (lengths: readonly number[]) => lengths.reduce((total, length) => total + length, 0)

await t.test('a request has a body if it comes in chunks or has a length above 0', async (t) => {
  const withHeaders = (headers: IncomingMessage['headers']) =>
    hasBody(Object.assign(new IncomingMessage(new Socket()), { headers }))
  t.strictSame(
    [{}, { 'content-length': '0' }, { 'content-length': '1' }, { 'transfer-encoding': 'chunked' }].map(
      withHeaders,
    ),
    [false, false, true, true],
  )
})

await t.test('the chunks of a turn are one part, in their order', async (t) => {
  const { request } = receive({ isRead: false })
  const parts: string[] = []
  request.setEncoding('latin1').on('data', (part: string) => parts.push(part))
  for (const character of 'first') request.push(Buffer.from(character))
  t.strictSame(parts, [], 'in the same turn nothing is handed on')
  await nextTurn()
  for (const character of 'second') request.push(Buffer.from(character))
  await nextTurn()
  t.strictSame(parts, ['first', 'second'])
})

await t.test('of a short chunk its bytes are held, and not its buffer', async (t) => {
  const { request } = receive({ isRead: false })
  const chunks = ['a', 'b', 'c'].map((text) => Buffer.from(text))
  for (const chunk of chunks) {
    request.push(chunk)
    chunk.fill('x')
  }
  await nextTurn()
  t.equal(String(request.read()), 'abc')
})

await t.test('a long chunk, or a whole body, is handed on at once', async (t) => {
  const partsOf = async (length: number, headers = CHUNKED) => {
    const { parts, push } = receive({ headers })
    await nextTurn() // in which the reader begins to read
    push(length)
    return [...parts]
  }
  const lengths = [MIN_PART_BYTES - 1, MIN_PART_BYTES, MIN_PART_BYTES + 1]
  const chunks = await Promise.all(lengths.map((length) => partsOf(length)))
  const whole = await Promise.all([9, 10].map((length) => partsOf(length, { 'content-length': '10' })))
  t.strictSame([...chunks, ...whole], [[], [MIN_PART_BYTES], [MIN_PART_BYTES + 1], [], [10]])
})

await t.test('a long chunk behind a short one of its turn follows it', async (t) => {
  const { parts, push } = receive()
  push(1)
  push(MIN_PART_BYTES)
  await nextTurn()
  t.strictSame(parts, [MIN_PART_BYTES + 1])
})

await t.test('the end of a body hands on the rest at once', async (t) => {
  const { request, parts, push } = receive()
  const ended = once(request, 'end')
  for (let i = 0; i < 10_000; i++) push(1)
  request.push(null)
  await ended
  t.strictSame(parts, [10_000])
  await nextTurn() // in which the turn of the last chunk ends
  t.strictSame(parts, [10_000])
})

await t.test('after the second chunk of a turn the connection is read no further in it', async (t) => {
  const { request, push } = receive()
  t.strictSame([push(1), push(1), push(1)], [true, false, false])
  await nextTurn()
  t.equal(push(1), true, 'in the next turn it is')
  request.destroy()
})

await t.test('chunks of several bodies that take long are handed on in a turn each', async (t) => {
  const reading = new ReadTurns(() => [])
  let turn = 0
  const turns: number[] = []
  const bodies = Array.from({ length: 4 }, () => receive({ reading }))
  for (const { request, push } of bodies) {
    request.on('data', () => {
      turns.push(turn)
      const end = performance.now() + 1.5 * MAX_READING_MS
      while (performance.now() < end);
    })
    push(1)
  }
  for (; turns.length < bodies.length; turn++) await nextTurn()
  t.equal(new Set(turns).size, bodies.length, String(turns))
})

await t.test('while nobody reads a body, the connection is not read', async (t) => {
  const { socket, request, push } = receive({ isRead: false })
  const { readableHighWaterMark } = request
  push(readableHighWaterMark - 1)
  await nextTurn()
  t.equal(socket.isPaused(), false, 'below the limit of the buffer')
  push(1)
  await nextTurn()
  t.equal(socket.isPaused(), true, 'at the limit')
  request.resume()
  await nextTurn()
  t.equal(socket.isPaused(), false, 'it is read')
})

await t.test('after a number of small parts the others have a minimum length', async (t) => {
  const turns = [-1, 0, 1, MIN_PART_BYTES - 1, MIN_PART_BYTES].map((more) => MAX_SMALL_PARTS + more)
  const seen = await Promise.all(
    turns.map(async (count) => {
      const { socket, request, parts, push } = receive()
      for (let i = 0; i < count; i++) {
        push(1)
        await nextTurn()
      }
      const before = parts.length
      const ended = once(request, 'end')
      request.push(null)
      await ended
      return [before, parts.length, sum(parts), socket.isPaused()]
    }),
  )
  const most = MAX_SMALL_PARTS
  t.strictSame(seen, [
    [most - 1, most - 1, most - 1, false],
    [most, most, most, false],
    [most, most + 1, most + 1, false],
    [most, most + 1, most + MIN_PART_BYTES - 1, false],
    [most + 1, most + 1, most + MIN_PART_BYTES, false],
  ])
})

await t.test(
  'a head that is longer than usual counts with the body, and without room for it nothing is read',
  async (t) => {
    const takenFor = (more: number, hasRoom: boolean) => {
      const request = new IncomingMessage(new Socket())
      request.rawHeaders = ['a', 'b'.repeat(USUAL_HEAD_BYTES - 65 + more)]
      request.headers = CHUNKED
      const taken: number[] = []
      let overloads = 0
      boundBody(request, new ServerResponse(request), {
        reading: new ReadTurns(() => []),
        tryTake: (bytes) => (taken.push(bytes), hasRoom),
        onOverload: () => void overloads++,
      })
      request.push(Buffer.alloc(MIN_PART_BYTES))
      return { taken, overloads, read: request.readableLength }
    }
    const whole = { overloads: 0, read: MIN_PART_BYTES }
    t.strictSame(
      [-1, 0, 1].map((more) => takenFor(more, true)),
      [
        { taken: [MIN_PART_BYTES], ...whole },
        { taken: [MIN_PART_BYTES], ...whole },
        { taken: [1, MIN_PART_BYTES], ...whole },
      ],
    )
    t.strictSame(takenFor(1, false), { taken: [1], overloads: 1, read: 0 })
  },
)

await t.test('what a client has sent before it disconnects is dropped', async (t) => {
  const { request, parts, push } = receive()
  request.on('error', () => {})
  push(1)
  request.destroy()
  await nextTurn()
  t.strictSame(parts, [])
})
