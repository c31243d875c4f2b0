import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { commonHeaderProblems, errorResponseProblems } from '../support/error-response.ts'
import { openStream } from '../support/event-source.ts'
import { request } from '../support/request.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStatus, sendJson } from '../support/scripted-upstream.ts'
import { startService } from '../support/service.ts'
import { connector, level, station } from '../support/stations.ts'
import { until } from '../support/until.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** Upstream with free points that a test sets. */
function changing() {
  const free = new Map<string, number>()
  const script: Script = ({ id }, response) =>
    sendJson(
      response,
      station(id, connector('Chademo', level(50, free.get(id) ?? 1)), connector('Tesla', level(250))),
    )
  return { free, script }
}

const idsOf = (events: readonly { readonly data: Record<string, unknown> }[]) =>
  events.map(({ data }) => data['chargingAvailability'])

const query = (...ids: string[]) => ids.map((id) => `chargingAvailability=${id}`).join('&')

/** A short TTL, so that a request of a client brings a change. */
const SHORT = { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0' }

await t.test('a stream begins with every station, in the body of the proxied route', async (t) => {
  const { script } = changing()
  const { proxy, get, upstream } = await startService(t, { script })
  const stream = await openStream(t, proxy.url, `${query('a', 'b', 'a')}&connectorSet=Tesla`, {
    'tracking-id': 'mine-1',
  })
  const events = await stream.received(2)
  t.strictSame(new Set(idsOf(events)), new Set(['a', 'b']))
  const { text } = await get('chargingAvailability=a&connectorSet=Tesla')
  t.ok(stream.raw().includes(`data: ${text}\n\n`))
  t.ok(stream.raw().startsWith('retry: 5000\n\n'))
  t.strictSame(commonHeaderProblems(stream.headers), [])
  t.match(stream.headers, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
    'tracking-id': 'mine-1',
  })
  t.strictSame([stream.headers.etag, stream.headers['content-encoding']], [undefined, undefined])
  t.equal(upstream.calls.length, 2)
  t.equal(await proxy.metric('evproxy_event_streams{kind="stream"}'), 1)
  t.equal(await proxy.metric('evproxy_watched_stations'), 2)
  t.equal(await proxy.metric('evproxy_events_total{event="availability"}'), 2)
  t.equal(await proxy.metric('evproxy_requests_total{format="none",status="200"}'), 1)
  t.equal(await proxy.metric('evproxy_cache_requests_total{result="miss"}'), 0, 'no lookup')
  stream.close()
  await until(
    'the stream is closed',
    async () => (await proxy.metric('evproxy_event_streams{kind="stream"}')) === 0,
  )
  t.equal(await proxy.metric('evproxy_watched_stations'), 0)
})

await t.test(
  'a change that a request of a client brings is sent at once, and only to filters that see it',
  async (t) => {
    const { script, free } = changing()
    const { proxy, get } = await startService(t, { script, env: SHORT })
    const whole = await openStream(t, proxy.url, query('a', 'b'))
    const filtered = await openStream(t, proxy.url, `${query('a')}&connectorSet=Tesla`)
    await whole.received(2)
    await filtered.received(1)
    await get('chargingAvailability=a')
    free.set('a', 5)
    await new Promise((resolve) => setTimeout(resolve, 5))
    const began = performance.now()
    await get('chargingAvailability=a')
    const events = await whole.received(3)
    t.ok(performance.now() - began < 500)
    t.match(events[2], { event: 'availability', data: { chargingAvailability: 'a' } })
    t.match(JSON.stringify(events[2]?.data), '"available":5')
    t.equal(filtered.events.length, 1)
  },
)

await t.test('Last-Event-ID, as header or parameter, spares what the client has', async (t) => {
  const { script, free } = changing()
  const { proxy, get } = await startService(t, { script, env: SHORT })
  const first = await openStream(t, proxy.url, query('a', 'b'))
  const id = (await first.received(2))[1]?.id ?? ''
  first.close()
  free.set('b', 7)
  await new Promise((resolve) => setTimeout(resolve, 5))
  await get('chargingAvailability=b')
  /** What arrives of a list, 50 ms after so many events. */
  const sent = async (count: number, list: string, headers: Record<string, string> = {}) => {
    const stream = await openStream(t, proxy.url, list, headers)
    await stream.received(count)
    await new Promise((resolve) => setTimeout(resolve, 50))
    return new Set(idsOf(stream.events))
  }
  t.strictSame(await sent(1, query('a', 'b'), { 'last-event-id': id }), new Set(['b']))
  t.strictSame(await sent(1, `${query('a', 'b')}&last_event_id=${id}`), new Set(['b']))
  t.strictSame(await sent(1, query('a', 'c'), { 'last-event-id': id }), new Set(['c']), 'another list')
  t.strictSame(
    await sent(1, `${query('a')}&connectorSet=Tesla`, { 'last-event-id': id }),
    new Set(['a']),
    'another filter',
  )
  const foreign = ['0', '17', 'x'.repeat(5_000), `2${id.slice(1)}`, '']
  const answers = await Promise.all(
    foreign.map((other) => sent(2, query('a', 'b'), { 'last-event-id': other })),
  )
  t.strictSame(
    answers,
    foreign.map(() => new Set(['a', 'b'])),
  )
})

await t.test('a station that cannot be answered is a problem, once until it can', async (t) => {
  const { script } = changing()
  const failing = answerStatus(500)
  const { proxy, upstream } = await startService(t, { script: failing })
  const stream = await openStream(t, proxy.url, query('a'))
  const [problem] = await stream.received(1)
  t.match(problem, {
    event: 'problem',
    data: {
      chargingAvailability: 'a',
      statusCode: 502,
      error: { detailedError: { code: 'UpstreamFailed' }, httpStatusCode: '502' },
    },
  })
  await until('it was tried again', () => upstream.calls.length >= 2)
  t.equal(stream.events.length, 1)
  upstream.script = script
  const events = await stream.received(2)
  t.match(events[1], { event: 'availability', data: { chargingAvailability: 'a' } })
  t.equal(await proxy.metric('evproxy_events_total{event="problem"}'), 1)
})

await t.test('a problem removes the station from the event id, so that it is sent again', async (t) => {
  const { proxy, upstream } = await startService(t, {
    env: { ...SHORT, CACHE_STALE_IF_ERROR: '0' },
    ...changing(),
  })
  const first = await openStream(t, proxy.url, query('a'))
  await first.received(1)
  upstream.script = answerStatus(404)
  await proxy.get('chargingAvailability=a')
  first.close()
  const second = await openStream(t, proxy.url, query('a'), { 'last-event-id': first.events[0]?.id ?? '' })
  const [problem] = await second.received(1)
  t.match(problem, { event: 'problem', id: '1', data: { statusCode: 404 } })
})

await t.test('wrong parameters are the usual errors, before any stream', async (t) => {
  const { proxy, request: ask } = await startService(t, { oddShapes: true })
  const many = (count: number) => query(...Array.from({ length: count }, (_, i) => `s${i}`))
  const cases: [string, number, string][] = [
    ['', 400, 'MissingParameter'],
    ['chargingAvailability=', 400, 'MissingParameter'],
    [`${query('a')}&chargingAvailability=`, 400, 'MissingParameter'],
    [many(101), 400, 'InvalidParameter'],
    [`${query('a')}&minPowerKW=fast`, 400, 'InvalidParameter'],
    [`${query('a')}&minPowerKW=2&maxPowerKW=1`, 400, 'InvalidParameter'],
    [query('x'.repeat(129)), 400, 'InvalidParameter'],
  ]
  const problems = await Promise.all(
    cases.map(async ([search, status, code]) =>
      errorResponseProblems(await ask(`/events?${search}`), { status, code }),
    ),
  )
  t.strictSame(problems.flat(), [])
  t.equal((await openStream(t, proxy.url, `${many(100)}&${many(100)}`)).status, 200)
  t.equal((await ask('/events', { method: 'POST' })).status, 405)
  t.equal((await ask('/events/', {})).status, 404)
  t.equal((await ask('/Events', {})).status, 404)
})

await t.test('HEAD has the headers of a stream and opens none', async (t) => {
  const { proxy } = await startService(t)
  const response = await request(proxy.url, `/events?${query('a')}`, { method: 'HEAD' })
  t.match([response.status, response.headers['content-type'], response.text], [200, 'text/event-stream', ''])
  t.equal((await request(proxy.url, '/events', { method: 'HEAD' })).status, 400)
  t.equal(await proxy.metric('evproxy_event_streams{kind="stream"}'), 0)
})

await t.test(
  'with CACHE_TTL=0 there is nothing to watch, and EVENTS_MAX_STREAMS=0 switches streams off',
  async (t) => {
    const { request: ask } = await startService(t, { env: { CACHE_TTL: '0' }, oddShapes: true })
    const response = await ask(`/events?${query('a')}`)
    t.strictSame(errorResponseProblems(response, { status: 400, code: 'InvalidParameter' }), [])
    t.match(response.text, 'CACHE_TTL')
    const off = await startService(t, { env: { EVENTS_MAX_STREAMS: '0' }, oddShapes: true })
    for (const method of ['GET', 'HEAD', 'POST']) {
      t.equal((await request(off.proxy.url, `/events?${query('a')}`, { method })).status, 404)
    }
  },
)

await t.test('over EVENTS_MAX_STREAMS a stream is 503, over 20 of one client 429', async (t) => {
  const { proxy, request: ask } = await startService(t, { env: { EVENTS_MAX_STREAMS: '2' }, oddShapes: true })
  await openStream(t, proxy.url, query('a'))
  const second = await openStream(t, proxy.url, query('a'))
  const full = await ask(`/events?${query('a')}`)
  t.strictSame(errorResponseProblems(full, { status: 503, code: 'TooManyStreams' }), [])
  second.close()
  await until('one is closed', async () => (await proxy.metric('evproxy_event_streams{kind="stream"}')) === 1)
  t.equal((await openStream(t, proxy.url, query('a'))).status, 200)

  const many = await startService(t, { oddShapes: true })
  const streams = await Promise.all(
    Array.from({ length: 20 }, () => openStream(t, many.proxy.url, query('a'))),
  )
  t.strictSame(
    streams.map(({ status }) => status),
    streams.map(() => 200),
  )
  const limited = await many.request(`/events?${query('a')}`)
  t.strictSame(errorResponseProblems(limited, { status: 429, code: 'TooManyRequests' }), [])
})

await t.test('a stream needs a key and counts as one request', async (t) => {
  const env = { CLIENT_KEYS: 'web=a-key-of-a-client-0123456789', CLIENT_RATE_LIMIT: '2' }
  const { proxy, request: ask } = await startService(t, { env, oddShapes: true })
  t.equal((await ask(`/events?${query('a')}`)).status, 403)
  const list = `${query('a', 'b', 'c')}&key=a-key-of-a-client-0123456789`
  t.equal((await openStream(t, proxy.url, list)).status, 200)
  t.equal((await openStream(t, proxy.url, list)).status, 200)
  t.equal((await ask(`/events?${list}`)).status, 429)
})

await t.test('draining ends every stream at once', async (t) => {
  const { proxy } = await startService(t, { env: { DRAIN_DELAY: '300ms' } })
  const stream = await openStream(t, proxy.url, query('a'))
  await stream.received(1)
  const stopping = proxy.stop()
  await until('the stream has ended', stream.hasEnded, 250)
  const late = await openStream(t, proxy.url, query('a'))
  t.equal(late.headers.connection, 'close')
  await until('a late one ends, too', late.hasEnded)
  t.equal(late.raw(), 'retry: 5000\n\n')
  await stopping
  t.ok(proxy.logs.some(({ msg, reason }) => msg === 'stream closed' && reason === 'draining'))
})

await t.test('a stream ends when the key of its client is removed', async (t) => {
  const file = join(temporaryFolder(), 'keys')
  const [web, ios] = ['web=a-key-of-a-client-0123456789', 'ios=another-key-of-a-client-012345']
  writeFileSync(file, `${web}\n${ios}\n`)
  const { proxy } = await startService(t, { env: { CLIENT_KEYS_FILE: file } })
  const streams = await Promise.all(
    [web, ios].map((line) => openStream(t, proxy.url, `${query('a')}&key=${line.split('=')[1]}`)),
  )
  writeFileSync(file, `${ios}\n`)
  await until('the stream of web has ended', () => streams[0]?.hasEnded() === true, 20_000)
  t.equal(streams[1]?.hasEnded(), false)
})
