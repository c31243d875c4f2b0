import type { ServerResponse } from 'node:http'
import t from 'tap'
import type { Connection } from '../../src/lib/connection.ts'
import { countUnsent } from '../../src/lib/connection.ts'
import { WAITING_REQUEST_BYTES } from '../../src/lib/connections.ts'
import {
  closeOnEndOfInput,
  isUnreadTooLong,
  UNREAD_WITH_MUCH_BEHIND_MS,
} from '../../src/lib/held-responses.ts'
import { LONG_UNREAD_MS } from '../../src/lib/make-room.ts'
import { until } from '../support/until.ts'
import { heldServer } from './held-server.ts'

/** More than the kernel takes. */
const LONG = Buffer.alloc(20_000_000)
const SOME = 5

/** A server whose budget is filled by `fill`, and connections that are not read. */
async function unread(t: Parameters<typeof heldServer>[0], budget: number) {
  const { send, ...server } = await heldServer(t, budget)
  const { waiting } = server
  const open = async (behind: number) => {
    const { responses, connection } = await send(1 + behind)
    responses[0].end(LONG)
    await until('it waits for its reader', () => connection.socket.writableLength > 0)
    return connection
  }
  const fill = () => waiting.reserve(waiting.limit - waiting.used)
  return { ...server, send, open, fill }
}

const areEnded = (connections: readonly Connection[]) => connections.map(({ socket }) => socket.destroyed)

await t.test(
  'without room, connections with something behind what is not read end, the largest first',
  async (t) => {
    const { waiting, ended, open, fill } = await unread(t, 10_000_000)
    const connections = [await open(SOME), await open(SOME + 2), await open(SOME + 1)]
    fill()
    t.ok(waiting.reserve((SOME + 2) * WAITING_REQUEST_BYTES), 'as much as the largest has')
    t.strictSame(areEnded(connections), [false, true, false])
    t.ok(waiting.reserve((SOME + 1) * WAITING_REQUEST_BYTES + 1), 'more than the second has')
    t.strictSame(areEnded(connections), [true, true, true])
    t.equal(ended.count, 3, 'they are reported')
    t.ok(waiting.used <= waiting.limit)
  },
)

await t.test('if that is not enough, none ends, and it is tried again later', async (t) => {
  const { waiting, open, fill } = await unread(t, 10_000_000)
  const connection = await open(SOME)
  fill()
  t.notOk(waiting.reserve(SOME * WAITING_REQUEST_BYTES + 1))
  t.notOk(waiting.reserve(waiting.limit + 1))
  t.strictSame(areEnded([connection]), [false])
  await until('it is tried again', () => waiting.reserve(1) !== null)
  t.strictSame(areEnded([connection]), [true])
})

await t.test('which connections end', async (t) => {
  const isEnded = async (behind: number, prepare: (connection: Connection) => void) => {
    const { waiting, open, fill } = await unread(t, 100_000_000)
    const connection = await open(behind)
    if (behind === 0) countUnsent(connection.due[0] as ServerResponse)
    prepare(connection)
    fill()
    return waiting.reserve(1) !== null && connection.socket.destroyed
  }
  const checkedAt = (now: number) => (connection: Connection) => {
    isUnreadTooLong(connection, 0, 60_000)
    isUnreadTooLong(connection, now, 60_000)
  }
  const requestedBefore = (ms: number) => (connection: Connection) => void (connection.requestedAt -= ms)
  t.strictSame(
    [
      await isEnded(1, () => {}),
      await isEnded(0, () => {}),
      await isEnded(0, checkedAt(UNREAD_WITH_MUCH_BEHIND_MS - 1)),
      await isEnded(0, checkedAt(UNREAD_WITH_MUCH_BEHIND_MS)),
      await isEnded(0, requestedBefore(LONG_UNREAD_MS - 1_000)),
      await isEnded(0, requestedBefore(LONG_UNREAD_MS)),
    ],
    [true, false, false, true, false, true],
  )
})

await t.test('of requests in progress those behind a response that is held open end', async (t) => {
  const { waiting, send, fill } = await unread(t, 10_000_000)
  const inProgress = await send(20)
  const open = await send(3)
  closeOnEndOfInput(open.responses[0])
  const alone = await send(1)
  closeOnEndOfInput(alone.responses[0])
  fill()
  t.ok(waiting.reserve(1))
  t.notOk(waiting.reserve(2 * WAITING_REQUEST_BYTES))
  t.strictSame(areEnded([inProgress.connection, open.connection, alone.connection]), [false, true, false])
})

await t.test('a long response for which there is no room ends others, which are not read', async (t) => {
  const { waiting, ended, open, fill } = await unread(t, 2 * LONG.length)
  const reading = await open(0)
  const idle = await open(99)
  const { writableLength } = reading.socket
  fill()?.tryGrow(500_000 - writableLength)
  const [response] = reading.due as [ServerResponse]
  countUnsent(response)
  t.strictSame(areEnded([reading, idle]), [false, true])
  t.ok(waiting.used <= waiting.limit)
  t.equal(reading.unsent?.bytes, response.writableLength)
  t.equal(ended.count, 1)
})

await t.test('what ends while room is made for it takes nothing', async (t) => {
  const { waiting, open, fill } = await unread(t, 10_000_000)
  const connection = await open(SOME)
  const filled = fill()
  const last = waiting.reserve(0)
  const { makeRoom } = waiting
  waiting.makeRoom = (missing) => (last?.end(), makeRoom(missing))
  t.ok(last?.tryGrow(1))
  t.equal(waiting.used, filled?.bytes)
  t.strictSame(areEnded([connection]), [true])
})
