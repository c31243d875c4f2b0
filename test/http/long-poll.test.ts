import type { Test } from 'tap'
import t from 'tap'
import { preferredWaitS } from '../../src/http/live/long-poll.ts'
import type { RequestOptions } from '../support/request.ts'
import { openStream } from '../support/event-source.ts'
import { sendJson } from '../support/scripted-upstream.ts'
import type { ServiceOptions } from '../support/service.ts'
import { startService } from '../support/service.ts'
import { connector, level, station } from '../support/stations.ts'
import { until } from '../support/until.ts'

const QUERY = 'chargingAvailability=a'
const SHORT = { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0' }

async function start(t: Test, options: ServiceOptions = {}) {
  let free = 1
  const service = await startService(t, {
    env: SHORT,
    script: ({ id }, response) =>
      sendJson(response, station(id, connector('Chademo', level(50, free)), connector('Tesla', level(250)))),
    ...options,
  })
  const poll = async (seconds: string, query = QUERY, more: RequestOptions & { ext?: string } = {}) => {
    const { headers } = await service.get(query, more)
    const prefer = { prefer: `wait=${seconds}`, 'if-none-match': String(headers.etag) }
    const began = performance.now()
    const response = await service.get(query, { ...more, headers: { ...more.headers, ...prefer } })
    return { ...response, ms: performance.now() - began }
  }
  const change = async () => {
    free++
    await new Promise((resolve) => setTimeout(resolve, 5))
    await service.get('chargingAvailability=a')
  }
  const held = () =>
    until(
      'a request is held',
      async () => (await service.proxy.metric('evproxy_event_streams{kind="long_poll"}')) > 0,
    )
  return { ...service, poll, change, held }
}

await t.test('a request with a current copy is held until the answer changes', async (t) => {
  const { poll, change, held, proxy } = await start(t)
  const polling = poll('30')
  await held()
  t.equal(await proxy.metric('evproxy_watched_stations'), 1)
  await change()
  const response = await polling
  t.match(response, { status: 200, headers: { 'preference-applied': 'wait=30' } })
  t.match(response.text, '"available":2')
  t.ok(response.headers['last-modified'])
  t.ok(response.ms < 5_000)
  t.equal(await proxy.metric('evproxy_event_streams{kind="long_poll"}'), 0)
  t.equal(await proxy.metric('evproxy_watched_stations'), 0)
  t.ok((await proxy.metric('evproxy_request_duration_seconds_sum{result="hit"}')) < 10, 'without the wait')
})

await t.test('a change that the filter does not show does not end the wait; its end is a 304', async (t) => {
  const { poll, change, held } = await start(t)
  const polling = poll('1', `${QUERY}&connectorSet=Tesla`, {
    ext: 'xml',
    headers: { 'accept-encoding': 'gzip' },
  })
  await held()
  await change()
  const response = await polling
  t.match(response, { status: 304, headers: { 'preference-applied': 'wait=1' } })
  t.ok(response.ms >= 900, `${response.ms}`)
})

await t.test('without a matching entity tag, and without a valid wait, nothing is held', async (t) => {
  const { get, poll } = await start(t)
  const plain = await get(QUERY, { headers: { prefer: 'wait=30' } })
  const other = await get(QUERY, { headers: { prefer: 'wait=30', 'if-none-match': '"another"' } })
  t.strictSame(
    [plain, other].map(({ status, headers }) => [status, headers['preference-applied']]),
    [
      [200, undefined],
      [200, undefined],
    ],
  )
  const invalid = await Promise.all(['0', '-1', '1.5', 'long', ''].map((seconds) => poll(seconds)))
  t.strictSame(
    invalid.map(({ status, headers }) => [status, headers['preference-applied']]),
    invalid.map(() => [304, undefined]),
  )
})

await t.test('the wait is read from any list of preferences, and cut to a minute', (t) => {
  const values = {
    'wait=10': 10,
    'respond-async, WAIT = 5; foo=bar': 5,
    'wait="7"': 7,
    'wait=61': 60,
    'wait=99999999999999999999': 60,
    'wait=3, wait=9': 3,
    ', ,wait=4': 4,
    'foo="a, wait=9"': null,
    'foo="a\\", wait=9"; b, wait=8': 8,
    'foo="a, wait=9': null,
    'foo="a\\': null,
    'await=3': null,
    'wait=0': null,
    wait: null,
    'wait=1e1': null,
  }
  t.strictSame(Object.fromEntries(Object.keys(values).map((value) => [value, preferredWaitS(value)])), values)
  t.equal(preferredWaitS(undefined), null)
  t.end()
})

await t.test('over a limit, when switched off, and without a cache it is answered at once', async (t) => {
  const limited = await start(t, { env: { ...SHORT, EVENTS_MAX_STREAMS: '1' } })
  const stream = await openStream(t, limited.proxy.url, 'chargingAvailability=b')
  await stream.received(1)
  const off = await start(t, { env: { ...SHORT, EVENTS_MAX_STREAMS: '0' } })
  const uncached = await start(t, { env: { CACHE_TTL: '0' } })
  const responses = await Promise.all([limited, off, uncached].map(({ poll }) => poll('30')))
  t.strictSame(
    responses.map(({ status, headers }) => [status, headers['preference-applied']]),
    responses.map(() => [304, undefined]),
  )
})

await t.test('a client that leaves ends its wait, and draining ends all', async (t) => {
  const { poll, held, proxy, get } = await start(t)
  const controller = new AbortController()
  await get(QUERY)
  const left = poll('30', QUERY, { signal: controller.signal }).catch(() => 'left')
  await held()
  controller.abort()
  t.equal(await left, 'left')
  await until('it is gone', async () => (await proxy.metric('evproxy_event_streams{kind="long_poll"}')) === 0)
  const polling = poll('30')
  await held()
  await proxy.stop()
  t.match(await polling, { status: 304, headers: { connection: 'close' } })
})
