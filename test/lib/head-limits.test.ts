import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import {
  HeadAccount,
  MAX_HEAD_BYTES,
  MAX_HEADERS,
  MIN_MAX_HEAD_BYTES,
  MIN_MAX_HEADERS,
} from '../../src/lib/head-limits.ts'
import { httpServer } from '../../src/lib/http-server.ts'
import { until } from '../support/until.ts'

const MB = 1_000_000
const FULL = { headers: MAX_HEADERS, bytes: MAX_HEAD_BYTES }
const LEAST = { headers: MIN_MAX_HEADERS, bytes: MIN_MAX_HEAD_BYTES }
/** Of a head, as the account counts it. */
const heapOf = ({ headers, bytes }: typeof FULL) => bytes + 64 * headers

const grants = (account: HeadAccount, count: number) => Array.from({ length: count }, () => account.grant())

await t.test('the first connections may send the maximum, then fewer headers, then fewer bytes', (t) => {
  const granted = grants(new HeadAccount(64 * MB), 1_000)
  t.strictSame(
    granted.slice(0, 20),
    Array.from({ length: 20 }, () => FULL),
  )
  t.strictSame(granted.at(-1), LEAST)
  const ordered = (values: readonly number[]) => values.every((value, i) => value <= (values[i - 1] ?? value))
  t.ok(ordered(granted.map(({ headers }) => headers)))
  t.ok(ordered(granted.map(({ bytes }) => bytes)))
  const firstWithLeastHeaders = granted.findIndex(({ headers }) => headers === MIN_MAX_HEADERS)
  t.equal(granted[firstWithLeastHeaders - 1]?.bytes, MAX_HEAD_BYTES)
  t.end()
})

await t.test('what is granted beyond the minimum is within an eighth of the heap', (t) => {
  for (const heap of [0, 16 * MB, 64 * MB, 4_000 * MB]) {
    const granted = grants(new HeadAccount(heap), 10_000)
    const beyond = granted.reduce((sum, limits) => sum + heapOf(limits) - heapOf(LEAST), 0)
    t.ok(beyond <= heap / 8, `${beyond} of ${heap}`)
  }
  t.end()
})

await t.test('a larger heap has room for more connections with the maximum', (t) => {
  t.strictSame(grants(new HeadAccount(4_000 * MB), 2_000).at(-1), FULL)
  t.end()
})

await t.test('what is given back is granted again', (t) => {
  const account = new HeadAccount(64 * MB)
  for (const limits of grants(account, 1_000)) account.giveBack(limits)
  t.strictSame(account.grant(), FULL)
  t.end()
})

async function start(t: Test, heads: HeadAccount) {
  const server = httpServer({ waiting: null, onOverload: () => {}, onOverloadEnd: () => {}, heads })(
    ({ headers }, response) => void response.end(`${Object.keys(headers).length} headers`),
    {},
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => (server.closeAllConnections(), server.close()))
  const { port } = server.address() as AddressInfo
  const send = async (head: string) => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.write(head)
    const [response] = (await once(socket, 'data')) as [Buffer]
    socket.destroy()
    return String(response)
  }
  return { port, send }
}

const withHeaders = (count: number) =>
  `GET / HTTP/1.1\r\n${Array.from({ length: count }, (_, i) => `x-${i}: a\r\n`).join('')}\r\n`
/** So many bytes of a target, a name and a value: blanks, colons and ends of lines are not counted. */
const withBytes = (count: number) => `GET / HTTP/1.1\r\na: ${'b'.repeat(count - 2)}\r\n\r\n`

await t.test('a request with more headers than its connection may have has one more', async (t) => {
  const { send } = await start(t, new HeadAccount(0))
  const responses = []
  for (const more of [-1, 0, 1, 2, 100]) responses.push(await send(withHeaders(MIN_MAX_HEADERS + more)))
  const orRejected = /101 headers|^HTTP\/1\.1 431/ // since Node 22 by the parser
  t.match(responses, ['99 headers', '100 headers', '101 headers', orRejected, orRejected])
})

for (const [name, heap, most] of [
  ['with few connections', 64 * MB, MAX_HEAD_BYTES],
  ['when nothing is left', 0, MIN_MAX_HEAD_BYTES],
] as const) {
  await t.test(`${name} a head has at most ${most} bytes`, async (t) => {
    const { send } = await start(t, new HeadAccount(heap))
    const responses = []
    for (const more of [-100, -1, 0, 100]) responses.push(await send(withBytes(most + more)))
    t.match(responses, [/ 200 /, / 200 /, / 431 /, / 431 /])
  })
}

await t.test('a connection gives back what it was granted when it closes', async (t) => {
  const account = new HeadAccount(64 * MB)
  const { port } = await start(t, account)
  const left = () => {
    const limits = account.grant()
    account.giveBack(limits)
    return limits.headers
  }
  const sockets = Array.from({ length: 60 }, () => connect(port, '127.0.0.1'))
  t.teardown(() => sockets.forEach((socket) => socket.destroy()))
  await until('they have taken their part', () => left() < MAX_HEADERS)
  for (const socket of sockets) socket.destroy()
  await until('it is given back', () => left() === MAX_HEADERS)
  t.pass()
})
