import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { ClientDisconnectedError } from '../../src/http/client-disconnect.ts'
import { createClientKey } from '../../src/http/live/stream-client.ts'
import type { RawQuery } from '../../src/http/request-context.ts'

function requestOf(address: string) {
  const socket = { destroyed: false, remoteAddress: address }
  const request = { socket, ip: address, raw: { headers: {}, socket } }
  return { socket, request: request as unknown as FastifyRequest<RawQuery> }
}

await t.test('a client that leaves while the first key is made opens no stream', async (t) => {
  const keyOf = createClientKey(null)
  const left = requestOf('192.0.2.1')
  const present = requestOf('192.0.2.2')
  const keys = Promise.allSettled([keyOf(left.request), keyOf(present.request)])
  left.socket.destroyed = true
  const [first, second] = await keys
  t.ok(first.status === 'rejected' && first.reason instanceof ClientDisconnectedError)
  t.strictSame(second, { status: 'fulfilled', value: '192.0.2.2' })
})
