import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { ByteBudget } from '../../src/lib/byte-budget.ts'
import type { Connection } from '../../src/lib/connection.ts'
import { connectionOf } from '../../src/lib/connection.ts'
import { httpServer } from '../../src/lib/http-server.ts'
import { until } from '../support/until.ts'

const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

/** A server that leaves its responses to the test. */
export async function heldServer(t: Test, budget = Number.POSITIVE_INFINITY) {
  const waiting = new ByteBudget(budget)
  /** Connections that the budget has ended. */
  const ended = { count: 0 }
  const seen: ServerResponse[] = []
  const server = httpServer({
    waiting,
    onOverload: (_request, response) => void response.writeHead(503).end(),
    onOverloadEnd: () => void ended.count++,
  })((_request, response) => void seen.push(response), {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  t.teardown(() => (server.closeAllConnections(), server.close()))
  /** A new connection that reads nothing, and the responses to its requests. */
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
