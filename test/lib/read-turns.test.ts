import { once } from 'node:events'
import type { RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect, Socket } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { connectionsIn, httpServer } from '../../src/lib/http-server.ts'
import { MAX_READING_MS, ReadTurns } from '../../src/lib/read-turns.ts'
import { until } from '../support/until.ts'

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

/** A socket whose handle notes whether it is read. */
function fakeSocket() {
  const handle = {
    /** What Node wants. */
    reading: true,
    isRead: true,
    readStart: () => void (handle.isRead = true),
    readStop: () => void (handle.isRead = false),
  }
  const socket = Object.assign(new Socket(), { _handle: handle })
  return { socket, handle, close: () => void Object.assign(socket, { _handle: null }) }
}

/** Two connections, in a turn that has taken the time given. */
function after(ms: number) {
  const fakes = [fakeSocket(), fakeSocket()] as const
  const reading = new ReadTurns(() => fakes.map(({ socket }) => socket))
  reading.parsing(1_000)
  reading.parsing(1_000 + ms)
  const states = () => fakes.map(({ handle }) => handle.isRead)
  const stopped = () => fakes.map(({ socket }) => reading.isWaiting(socket))
  const untilResumed = () => until('none is stopped', () => !stopped().includes(true))
  return { fakes, reading, states, stopped, untilResumed }
}

await t.test('a turn that has read for the longest time reads no other connection', async (t) => {
  const turns = [-1, 0, 1].map((more) => after(MAX_READING_MS + more))
  t.strictSame(
    turns.map(({ states, stopped }) => [states(), stopped()]),
    [
      [
        [true, true],
        [false, false],
      ],
      [
        [false, false],
        [true, true],
      ],
      [
        [false, false],
        [true, true],
      ],
    ],
  )
  await Promise.all(turns.map(({ untilResumed }) => untilResumed()))
  t.strictSame(
    turns.map(({ states }) => states()),
    turns.map(() => [true, true]),
    'they follow in later turns',
  )
})

await t.test('a turn has only the time that itself has taken', async (t) => {
  const { reading, states } = after(0)
  await nextTurn()
  reading.parsing(1_000 + MAX_READING_MS)
  t.strictSame(states(), [true, true])
})

await t.test('a connection is not read on if Node has stopped it meanwhile', async (t) => {
  const { fakes, states, untilResumed } = after(MAX_READING_MS)
  fakes[1].handle.reading = false
  await untilResumed()
  t.strictSame(states(), [true, false])
})

await t.test('connections that are closed or that Node does not read are left alone', async (t) => {
  const fakes = [fakeSocket(), fakeSocket()] as const
  fakes[0].close()
  fakes[1].handle.reading = false
  const reading = new ReadTurns(() => fakes.map(({ socket }) => socket))
  reading.parsing(1_000)
  reading.parsing(1_000 + MAX_READING_MS)
  t.strictSame(
    fakes.map(({ socket, handle }) => [handle.isRead, reading.isWaiting(socket)]),
    [
      [true, false],
      [true, false],
    ],
  )
})

await t.test('a connection that closes while it waits is forgotten when its turn comes', async (t) => {
  const { fakes, states, untilResumed } = after(MAX_READING_MS)
  fakes[1].close()
  await untilResumed()
  t.strictSame(states(), [true, false])
})

const CONNECTIONS = 30
/** So long that a turn has nine requests at most: those of twice the time, and the one that is handled then. */
const WORK_MS = 5
const MOST_OF_TURN = (2 * MAX_READING_MS) / WORK_MS + 1
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

function work(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** Requests of many connections that have all arrived before the first is read; the requests of each turn. */
async function sendAtOnce(t: Test, handle: (server: Server) => void) {
  const ofTurn: number[] = []
  let isTurnOpen = false
  const handler: RequestListener = (_request, response) => {
    if (!isTurnOpen) {
      isTurnOpen = true
      ofTurn.push(0)
      setImmediate(() => (isTurnOpen = false))
    }
    ofTurn.push((ofTurn.pop() ?? 0) + 1)
    handle(server)
    response.end('x')
  }
  const server = httpServer({ waiting: null, onOverload: () => {}, onOverloadEnd: () => {} })(handler, {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  let accepted = 0
  server.on('connection', () => accepted++)
  const sockets = Array.from({ length: CONNECTIONS }, () => connect(port, '127.0.0.1'))
  t.teardown(() => (sockets.forEach((socket) => socket.destroy()), server.close()))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  await until('all are accepted', () => accepted === CONNECTIONS)
  for (const socket of sockets) socket.resume().write(REQUEST)
  const isAnswered = () => sockets.every(({ bytesRead, closed }) => bytesRead > 0 || closed)
  return { ofTurn, untilAnswered: () => until('all are answered', isAnswered) }
}

const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)

await t.test('requests of many connections that take long are handled in several turns', async (t) => {
  const { ofTurn, untilAnswered } = await sendAtOnce(t, () => work(WORK_MS))
  await untilAnswered()
  t.equal(sum(ofTurn), CONNECTIONS)
  t.ok(Math.max(...ofTurn) <= MOST_OF_TURN, String(ofTurn))
})

await t.test('a connection that waits to be read is not closed as idle', async (t) => {
  let isFirst = true
  const { ofTurn, untilAnswered } = await sendAtOnce(t, (server) => {
    if (isFirst) setImmediate(() => connectionsIn(server).closeIdle(0))
    isFirst = false
    work(WORK_MS)
  })
  await untilAnswered()
  t.equal(sum(ofTurn), CONNECTIONS)
})
