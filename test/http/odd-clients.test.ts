import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { MAX_HEADERS } from '../../src/lib/head-limits.ts'
import { HALF_CLOSE_MS } from '../../src/lib/connections.ts'
import { sendBytes } from '../support/raw-http.ts'
import { pathFor } from '../support/request.ts'
import { answerStation, Barrier } from '../support/scripted-upstream.ts'
import { perCall, waitFor } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { finalResponse, getAndClose, getAndKeep, HOST, statusesIn, TARGET } from './raw-requests.ts'

/** A connection and what it has received. */
function open(t: Test, port: number): { socket: Socket; text: () => string } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {})
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  t.teardown(() => socket.destroy())
  return { socket, text: () => text }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

await t.test('clients with odd connections', async (t) => {
  let barrier = new Barrier()
  const { proxy, upstream, request, requestAdmin } = await startService(t, {
    script: perCall(({ id }) => (id.startsWith('held') ? waitFor(barrier) : answerStation)),
    env: { ACCESS_LOG: 'true' },
  })
  const { port } = proxy.addresses.public
  const counted = () => proxy.metric('evproxy_requests_total{format="json",status="499"}')

  await t.test(
    'a client that ends its input after the request gets the response, to a miss too',
    async (t) => {
      const { socket, text } = open(t, port)
      socket.end(getAndKeep('held-half'))
      await upstream.arrived(upstream.calls.length + 1)
      await pause(2 * HALF_CLOSE_MS)
      barrier.open()
      await until('it is answered', () => text().includes('"chargingAvailability":"held-half"'))
      t.equal(await counted(), 0)
    },
  )

  await t.test('a client that leaves before its response is counted and logged as 499', async (t) => {
    barrier = new Barrier()
    const before = upstream.calls.length
    const first = open(t, port)
    first.socket.write(getAndKeep('held-left'))
    await upstream.arrived(before + 1)
    const second = open(t, port)
    second.socket.write(getAndKeep('held-left'))
    await pause(2 * HALF_CLOSE_MS)
    first.socket.destroy()
    second.socket.destroy()
    await until('both are counted', async () => (await counted()) === 2)
    barrier.open()
    const lines = proxy.logs.filter(({ msg, status }) => msg === 'request answered' && status === 499)
    t.strictSame(new Set(lines.map(({ result }) => result)), new Set(['coalesced', 'miss']))
    t.ok(
      lines.every((line) => Number(line['http.server.request.duration']) * 1_000 >= HALF_CLOSE_MS),
      'the time until it left',
    )
    const seconds = await proxy.metric('evproxy_request_duration_seconds_count{result="coalesced"}')
    t.equal(seconds, 1)
    t.equal(upstream.calls.length, before + 1)
  })

  await t.test('a client that leaves before the answer to its batch is counted once as 499', async (t) => {
    barrier = new Barrier()
    const [before, calls] = [await counted(), upstream.calls.length]
    const body = '{"batchItems":[{"query":"/chargingAvailability.json?chargingAvailability=held-batch"}]}'
    const head = `POST /search/2/batch/sync.json HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n`
    const { socket } = open(t, port)
    socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`)
    await upstream.arrived(calls + 1)
    await pause(2 * HALF_CLOSE_MS)
    socket.destroy()
    await until('it is counted', async () => (await counted()) > before)
    barrier.open()
    await until(
      'the answer is stored',
      async () => (await request(pathFor('chargingAvailability=held-batch'))).status === 200,
    )
    t.equal(await counted(), before + 1)
  })

  await t.test('a request behind one with an Upgrade is never answered in its place', async (t) => {
    const upgrade = getAndKeep('first').replace(HOST, `${HOST}Connection: Upgrade\r\nUpgrade: h2c\r\n`)
    const { text } = await sendBytes(port, upgrade + getAndKeep('second'))
    t.match(text, /"chargingAvailability":"first"/)
    t.match(text, /connection: close/i)
    t.notMatch(text, /"second"/)
  })

  await t.test('headers beyond the maximum number are 431', async (t) => {
    const withHeaders = (count: number) => getAndClose(TARGET, 'a:\r\n'.repeat(count - 2))
    const counts = [MAX_HEADERS - 1, MAX_HEADERS, MAX_HEADERS + 1, 3_500]
    const statuses = await Promise.all(
      counts.map(async (count) => (await sendBytes(port, withHeaders(count))).status),
    )
    t.strictSame(statuses, [200, 200, 431, 431])
    const late = `GET ${TARGET} HTTP/1.1\r\n${'a:\r\n'.repeat(MAX_HEADERS)}${HOST}${HOST}Connection: close\r\n\r\n`
    t.equal((await sendBytes(port, late)).status, 431)
    const hidden = late.replace('Connection: close\r\n', 'Transfer-Encoding: chunked\r\n')
    const { status, headers } = await sendBytes(port, hidden)
    t.strictSame([status, headers['connection']], [431, 'close'], 'it may have a body')
  })

  await t.test('other versions than HTTP/1.0 and 1.1 are 400', async (t) => {
    const statuses = await Promise.all(
      ['0.9', '1.0', '1.1', '1.2', '2.0'].map(
        async (version) =>
          (await sendBytes(port, getAndClose(TARGET).replace('HTTP/1.1', `HTTP/${version}`))).status,
      ),
    )
    t.strictSame(statuses, [400, 200, 200, 400, 400])
  })

  await t.test('a preflight with two Host headers is 400', async (t) => {
    const preflight = `OPTIONS ${TARGET} HTTP/1.1\r\n${HOST}${HOST}Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\nConnection: close\r\n\r\n`
    t.equal((await sendBytes(port, preflight)).status, 400)
    t.equal((await sendBytes(port, preflight.replace(HOST, ''))).status, 204)
  })

  await t.test('a fragment is no part of the id', async (t) => {
    const target = '/search/2/chargingAvailability.json?chargingAvailability=plain#fragment'
    const { text } = finalResponse(await sendBytes(port, getAndClose(target)))
    t.match(text, '"chargingAvailability":"plain"')
  })

  await t.test('pipelined misses are all answered, whatever order upstream answers in', async (t) => {
    barrier = new Barrier()
    const before = upstream.calls.length
    const { socket, text } = open(t, port)
    socket.write(['held-1', 'quick-2', 'held-3', 'quick-4', 'held-5'].map(getAndKeep).join(''))
    await upstream.arrived(before + 5)
    barrier.open()
    await until('all are answered', () => statusesIn(text()).length === 5)
    const ids = [...text().matchAll(/"chargingAvailability":"([^"]+)"/g)].map(([, id]) => id)
    t.strictSame(ids, ['held-1', 'quick-2', 'held-3', 'quick-4', 'held-5'])
  })

  await t.test('the waiters behind a slow response leave with their connection', async (t) => {
    barrier = new Barrier()
    const [before, left] = [upstream.calls.length, await counted()]
    const { socket } = open(t, port)
    socket.write(['held-a', 'held-b', 'held-c'].map(getAndKeep).join(''))
    await upstream.arrived(before + 3)
    await pause(2 * HALF_CLOSE_MS)
    socket.destroy()
    await until('all three are counted', async () => (await counted()) === left + 3)
    barrier.open()
  })

  await t.test(
    'a silent connection is closed without a byte and counted nowhere, on both listeners',
    async (t) => {
      const total = async () => {
        const { text } = await requestAdmin('/metrics')
        return text
          .split('\n')
          .filter((line) => line.startsWith('evproxy_requests_total') && !line.endsWith(' 0'))
      }
      const before = await total()
      const silent = [port, proxy.addresses.admin.port].map((to) => open(t, to))
      const unfinished = open(t, proxy.addresses.admin.port)
      unfinished.socket.write('GET / HTTP/1.1\r\nHo')
      const opened = [...silent, unfinished]
      const closed = opened.map(({ socket }) => new Promise((resolve) => socket.once('end', resolve)))
      await Promise.all(closed) // 10 s for the headers, checked every 5 s
      t.strictSame(
        silent.map(({ text }) => text()),
        ['', ''],
      )
      t.match(unfinished.text(), /^HTTP\/1\.1 408 /, 'the admin listener says what it waited for')
      t.strictSame(await total(), before)
    },
  )

  await t.test('the service still serves', async (t) => {
    t.equal((await request(pathFor('chargingAvailability=a'))).status, 200)
  })
})
