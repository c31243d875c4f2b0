import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { ByteBudget } from '../../src/lib/byte-budget.ts'
import type { Connection } from '../../src/lib/connection.ts'
import { connectionOf } from '../../src/lib/connection.ts'
import { WAITING_REQUEST_BYTES } from '../../src/lib/connections.ts'
import {
  BEHIND_OPEN_SHARE,
  closeOnEndOfInput,
  isUnreadTooLong,
  MAX_BYTES_BEHIND_OPEN,
  UNREAD_WITH_MUCH_BEHIND_MS,
} from '../../src/lib/held-responses.ts'
import { httpServer } from '../../src/lib/http-server.ts'
import { until } from '../support/until.ts'

const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
/** Requests that may wait behind a response that is held open, or not read. */
const MOST = Math.floor(MAX_BYTES_BEHIND_OPEN / WAITING_REQUEST_BYTES)
/** More than the kernel takes. */
const LONG = Buffer.alloc(20_000_000)

/** A server whose requests are held until `responses` are ended. */
async function listen(t: Test, budget = Number.POSITIVE_INFINITY) {
  const waiting = new ByteBudget(budget)
  const ended = { count: 0 }
  const server = httpServer({
    waiting,
    onOverload: (_request, response) => void response.writeHead(503).end(),
    onOverloadEnd: () => void ended.count++,
  })((_request, response) => void seen.push(response), {})
  const seen: ServerResponse[] = []
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  t.teardown(() => (server.closeAllConnections(), server.close()))
  /** The responses of a new connection. */
  const send = async (requests: number) => {
    const from = seen.length
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.pause().write(REQUEST.repeat(requests))
    await until('all are handled', () => seen.length === from + requests)
    const responses = seen.slice(from) as [ServerResponse, ...ServerResponse[]]
    return { socket, responses, connection: connectionOf(responses[0]) as Connection }
  }
  return { waiting, ended, send }
}

await t.test('a connection with much behind a response that is not read ends soon', async (t) => {
  const { send } = await listen(t)
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
  const { send } = await listen(t)
  const { connection } = await send(90)
  isUnreadTooLong(connection, 0, 60_000)
  t.notOk(isUnreadTooLong(connection, 600_000, 60_000))
})

await t.test('what waits behind responses that are held open is bounded over all connections', async (t) => {
  const MOST_TOGETHER = 20
  const { waiting, ended, send } = await listen(
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
