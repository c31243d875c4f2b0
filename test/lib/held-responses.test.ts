import t from 'tap'
import { WAITING_REQUEST_BYTES } from '../../src/lib/connections.ts'
import {
  BEHIND_OPEN_SHARE,
  closeOnEndOfInput,
  isUnreadTooLong,
  MAX_BYTES_BEHIND_OPEN,
  UNREAD_WITH_MUCH_BEHIND_MS,
} from '../../src/lib/held-responses.ts'
import { until } from '../support/until.ts'
import { heldServer } from './held-server.ts'

/** Requests that may wait behind a response that is held open, or not read. */
const MOST = Math.floor(MAX_BYTES_BEHIND_OPEN / WAITING_REQUEST_BYTES)
/** More than the kernel takes. */
const LONG = Buffer.alloc(20_000_000)

await t.test('a connection with much behind a response that is not read ends soon', async (t) => {
  const { send } = await heldServer(t)
  const isEnded = async (behind: number, afterMs: number) => {
    const { responses, connection } = await send(1 + behind)
    responses[0].end(LONG)
    await until('it waits for its reader', () => connection.socket.writableLength > 0)
    isUnreadTooLong(connection, 0, 60_000)
    return isUnreadTooLong(connection, afterMs, 60_000)
  }
  t.strictSame(
    [
      await isEnded(MOST, UNREAD_WITH_MUCH_BEHIND_MS),
      await isEnded(MOST + 1, UNREAD_WITH_MUCH_BEHIND_MS),
      await isEnded(MOST + 1, UNREAD_WITH_MUCH_BEHIND_MS - 1),
      await isEnded(MOST, 59_999),
      await isEnded(0, 60_000),
    ],
    [false, true, false, false, true],
  )
})

await t.test('a connection that waits for its first response, with much behind it, stays open', async (t) => {
  const { send } = await heldServer(t)
  const { connection } = await send(90)
  isUnreadTooLong(connection, 0, 60_000)
  t.notOk(isUnreadTooLong(connection, 600_000, 60_000))
})

await t.test('what waits behind responses that are held open is bounded over all connections', async (t) => {
  const MOST_TOGETHER = 20
  const { waiting, ended, send } = await heldServer(
    t,
    (MOST_TOGETHER * WAITING_REQUEST_BYTES) / BEHIND_OPEN_SHARE,
  )
  const open = async (behind: number) => {
    const { responses, connection, socket } = await send(1 + behind)
    closeOnEndOfInput(responses[0])
    return { responses, peer: connection.socket, socket }
  }
  const first = await open(11)
  const atLimit = await open(MOST_TOGETHER - 11)
  const over = await open(1)
  const empty = await open(0)
  t.strictSame(
    [first, atLimit, over, empty].map(({ peer }) => peer.destroyed),
    [false, false, true, false],
  )
  t.equal(ended.count, 1, 'it is reported')

  atLimit.socket.destroy()
  await until('what the closed ones had is returned', () => waiting.used === 11 * WAITING_REQUEST_BYTES)
  const another = await open(MOST_TOGETHER - 11)
  t.notOk(another.peer.destroyed)
  first.socket.resume()
  for (const response of first.responses) response.end()
  await until('the first has ended', () => waiting.used === (MOST_TOGETHER - 11) * WAITING_REQUEST_BYTES)
  t.notOk((await open(11)).peer.destroyed)
  t.ok((await open(1)).peer.destroyed)
})
