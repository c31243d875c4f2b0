import type { Test } from 'tap'
import t from 'tap'
import { MAX_POSTS_PER_CONNECTION } from '../../src/lib/connections.ts'
import { sendBytes } from '../support/raw-http.ts'
import type { RequestOptions } from '../support/request.ts'
import { request } from '../support/request.ts'
import { commonHeaderProblems, errorResponseProblems } from '../support/error-response.ts'
import { Barrier, sendJson } from '../support/scripted-upstream.ts'
import { hang, perCall, waitFor } from '../support/scripts.ts'
import type { ServiceOptions } from '../support/service.ts'
import { startService } from '../support/service.ts'
import { connector, level, referenceStation, station } from '../support/stations.ts'
import { until } from '../support/until.ts'

const PATH = '/search/2/batch/sync.json'

interface Item {
  readonly statusCode: number
  readonly response: Record<string, unknown>
}
interface Batch {
  readonly formatVersion: string
  readonly batchItems: Item[]
  readonly summary: { readonly successfulRequests: number; readonly totalRequests: number }
}

const items = (...queries: string[]) => ({
  batchItems: queries.map((query) => ({ query: `/chargingAvailability.json?${query}` })),
})
const stations = (count: number, prefix = 's') =>
  items(...Array.from({ length: count }, (_, i) => `chargingAvailability=${prefix}${i}`))

async function start(t: Test, options: ServiceOptions = {}) {
  const service = await startService(t, options)
  const post = (body: unknown, { headers, ...more }: RequestOptions & { path?: string } = {}) =>
    service.request(more.path ?? PATH, {
      method: 'POST',
      body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      ...more,
      headers: { 'content-type': 'application/json', ...headers },
    })
  const batch = async (body: unknown, options?: RequestOptions & { path?: string }) => {
    const response = await post(body, options)
    return { ...response, ...(JSON.parse(response.text) as Batch) }
  }
  return { ...service, post, batch }
}

/** The status of each item, or the code of its error. */
const outcomes = ({ batchItems }: Batch) =>
  batchItems.map(
    ({ statusCode, response }) =>
      (response['detailedError'] as { code: string } | undefined)?.code ?? statusCode,
  )

await t.test('a batch is answered in its order, with the bodies of the proxied route', async (t) => {
  const { batch, get, upstream } = await start(t)
  const filter = 'connectorSet=IEC62196Type2CableAttached&minPowerKW=22'
  const response = await batch(
    items(
      'chargingAvailability=B',
      `chargingAvailability=A&${filter}`,
      'chargingAvailability=',
      'chargingAvailability=B',
    ),
  )
  t.equal(response.status, 200)
  t.equal(response.formatVersion, '0.0.1')
  t.strictSame(response.summary, { successfulRequests: 3, totalRequests: 4 })
  t.strictSame(outcomes(response), [200, 200, 'MissingParameter', 200])
  const bodies = await Promise.all(
    ['chargingAvailability=B', `chargingAvailability=A&${filter}`, '', 'chargingAvailability=B'].map(
      async (query) => JSON.parse((await get(query)).text) as unknown,
    ),
  )
  t.strictSame(
    response.batchItems.map((item) => item.response),
    bodies,
  )
  t.equal(upstream.calls.length, 2)
})

await t.test('a batch without items is an empty list', async (t) => {
  const { batch } = await start(t)
  const response = await batch({ batchItems: [] })
  t.equal(response.status, 200)
  t.equal(
    response.text,
    '{"formatVersion":"0.0.1","batchItems":[],"summary":{"successfulRequests":0,"totalRequests":0}}',
  )
  t.equal(response.headers['age'], undefined)
})

await t.test('a body that cannot be used is an error for the whole', async (t) => {
  const { post } = await start(t)
  const padded = (bytes: number) => JSON.stringify({ batchItems: [] }).padEnd(bytes)
  const responses = {
    'over 100 items': [await post(stations(101)), 400, 'InvalidParameter'],
    'not JSON': [await post('{"batchItems":['), 400, 'InvalidParameter'],
    'not UTF-8': [await post(Buffer.from([0x22, 0xff, 0x22])), 400, 'InvalidParameter'],
    'no body': [await post(''), 400, 'InvalidParameter'],
    'no list': [await post({ batchItems: 'A' }), 400, 'InvalidParameter'],
    'too large': [await post(padded(65_537)), 413, 'PayloadTooLarge'],
    'far too large': [await post(padded(1_000_000)), 413, 'PayloadTooLarge'],
    'another type': [
      await post('{}', { headers: { 'content-type': 'text/plain' } }),
      415,
      'UnsupportedMediaType',
    ],
    'a coding': [await post('{}', { headers: { 'content-encoding': 'gzip' } }), 415, 'UnsupportedMediaType'],
  } as const
  const problems = Object.entries(responses).flatMap(([name, [response, status, code]]) =>
    errorResponseProblems(response, { status, code }).map((problem) => `${name}: ${problem}`),
  )
  t.strictSame(problems, [])
  t.equal((await post(padded(65_536))).status, 200)
  t.equal(
    (await post('{"batchItems":[]}', { headers: { 'content-type': 'Application/JSON; charset=UTF-8' } }))
      .status,
    200,
  )
})

await t.test('a chunked body over the limit is 413', async (t) => {
  const { post } = await start(t)
  const response = await post(' '.repeat(70_000), { headers: { 'transfer-encoding': 'chunked' } })
  t.equal(response.status, 413)
})

/** A request whose body comes in chunks of one byte; without `isWhole` more of it is announced. */
function inChunksOfAByte(body: string, { isWhole }: { isWhole: boolean }): string {
  const head = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n`
  const chunks = Array.from(body, (character) => `1\r\n${character}\r\n`).join('')
  return `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}${isWhole ? '0\r\n\r\n' : ''}`
}

await t.test('a body in chunks of a byte is answered like any other', async (t) => {
  const { proxy } = await start(t)
  const { port } = proxy.addresses.public
  const body = JSON.stringify(items('chargingAvailability=A'))
  const ask = async (length: number, isWhole: boolean) =>
    sendBytes(port, inChunksOfAByte(body.padEnd(length), { isWhole }), 10_000)
  const whole = await ask(65_536, true)
  t.equal(whole.status, 200)
  t.strictSame(outcomes(JSON.parse(whole.body) as Batch), [200])
  const tooLong = [await ask(65_537, true), await ask(65_537, false)]
  t.strictSame(
    tooLong.map(({ status }) => status),
    [413, 413],
  )
})

await t.test('a connection ends after the last of the batches that it may send at once', async (t) => {
  const { proxy } = await start(t)
  const body = '{"batchItems":[]}'
  const head = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n`
  const batch = `${head}Content-Length: ${body.length}\r\n\r\n${body}`
  const startedAt = performance.now()
  const { text } = await sendBytes(
    proxy.addresses.public.port,
    batch.repeat(MAX_POSTS_PER_CONNECTION + 1),
    30_000,
  )
  t.equal(text.split('HTTP/1.1 200').length - 1, MAX_POSTS_PER_CONNECTION)
  t.equal(text.match(/^connection: close\r$/gim)?.length, 1)
  t.ok(performance.now() - startedAt < 30_000, 'the connection has ended')
})

await t.test('only POST and OPTIONS of this path exist', async (t) => {
  const { proxy } = await start(t)
  const methods = ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH']
  const notAllowed = await Promise.all(methods.map((method) => request(proxy.url, PATH, { method })))
  t.strictSame(
    notAllowed.map(({ status, headers }) => [status, headers.allow]),
    methods.map(() => [405, 'POST, OPTIONS']),
  )
  const paths = ['sync.xml', 'sync.json/', 'sync', 'sync%2Ejson', 'async.json', '', 'sync.json/x.xml']
  const others = [
    ...paths.map((name) => `/search/2/batch/${name}`),
    '/search/2/batch.json',
    '/search/2/batch',
  ]
  const responses = await Promise.all(
    others.map((path) =>
      request(proxy.url, path, {
        method: 'POST',
        body: '{}',
        headers: { 'content-type': 'application/json' },
      }),
    ),
  )
  t.strictSame(
    responses.flatMap((response, i) =>
      errorResponseProblems(response, { status: 404, code: 'NotFound' }).map(
        (problem) => `${others[i]} ${problem}`,
      ),
    ),
    [],
  )
  const wrongCase = await request(proxy.url, '/search/2/Batch/sync.json', { method: 'POST' })
  t.equal(wrongCase.status, 404)
})

await t.test('a page of another origin may post JSON', async (t) => {
  const { request: ask } = await start(t)
  const headers = {
    origin: 'https://app.example',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'content-type,tracking-id',
  }
  const preflight = await ask(PATH, { method: 'OPTIONS', headers })
  t.equal(preflight.status, 204)
  t.equal(preflight.headers['access-control-allow-methods'], 'POST, OPTIONS')
  t.equal(preflight.headers['access-control-allow-headers'], 'content-type,tracking-id')
  t.ok(Number(preflight.headers['access-control-max-age']) > 0)
})

await t.test('the headers of a batch are those of an answer, without Cache-Status', async (t) => {
  const { batch, post } = await start(t)
  const first = await batch(stations(3), { headers: { 'tracking-id': 'abc-1', connection: 'keep-alive' } })
  t.strictSame(commonHeaderProblems(first.headers), [])
  t.match(first.headers, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-cache',
    'tracking-id': 'abc-1',
    age: '0',
    connection: 'keep-alive',
  })
  t.equal(first.headers['cache-status'], undefined)
  const again = await post(stations(3), { headers: { 'if-none-match': String(first.headers.etag) } })
  t.strictSame([again.status, again.text, again.headers.etag], [304, '', first.headers.etag])
  const other = await post(stations(2), { headers: { 'if-none-match': String(first.headers.etag) } })
  t.equal(other.status, 200)
})

await t.test('a batch is compressed when asked for, with another entity tag', async (t) => {
  const { post } = await start(t)
  const plain = await post(stations(3))
  const gzipped = await post(stations(3), { headers: { 'accept-encoding': 'gzip' } })
  t.equal(gzipped.headers['content-encoding'], 'gzip')
  t.equal(gzipped.text, plain.text)
  t.not(gzipped.headers.etag, plain.headers.etag)
  const headers = { 'accept-encoding': 'gzip', 'if-none-match': String(gzipped.headers.etag) }
  t.equal((await post(stations(3), { headers })).status, 304)
  t.equal((await post({ batchItems: [] }, { headers })).headers['content-encoding'], undefined)
  t.equal(
    (await post(stations(3), { headers: { 'accept-encoding': '*' } })).headers['content-encoding'],
    undefined,
  )
})

await t.test('the length of a body with other characters is that of its bytes', async (t) => {
  const script = perCall(
    ({ id }) =>
      (_call, response) =>
        sendJson(response, { ...referenceStation(id), operator: 'Größe €' }),
  )
  const { batch } = await start(t, { script })
  const response = await batch(items('chargingAvailability=%C3%A4'))
  t.match(response.batchItems[0], { response: { chargingAvailability: 'ä', operator: 'Größe €' } })
  t.equal(response.headers['content-length'], String(response.body.length))
})

await t.test('100 cold stations cost one call each, however many batches ask for them', async (t) => {
  const barrier = new Barrier()
  const { batch, upstream, proxy } = await start(t, { script: waitFor(barrier) })
  const running = Array.from({ length: 3 }, () => batch(stations(100)))
  await until('16 calls have arrived', () => upstream.calls.length === 16)
  barrier.open()
  const responses = await Promise.all(running)
  t.strictSame(
    responses.map(({ summary }) => summary),
    responses.map(() => ({ successfulRequests: 100, totalRequests: 100 })),
  )
  t.equal(upstream.calls.length, 100)
  t.equal(await proxy.metric('evproxy_cache_requests_total{result="miss"}'), 100)
  t.equal(await proxy.metric('evproxy_cache_requests_total{result="coalesced"}'), 200)
  t.equal(await proxy.metric('evproxy_requests_total{format="json",status="200"}'), 3)
})

await t.test('items for which no slot comes in time fail at once, the others are answered', async (t) => {
  const { batch, proxy } = await start(t, { env: { UPSTREAM_MAX_QPS: '5' } })
  const began = performance.now()
  const response = await batch(stations(100))
  const ms = performance.now() - began
  const answered = response.summary.successfulRequests
  t.ok(answered >= 9 && answered <= 11, `${answered} answered`)
  t.strictSame(new Set(outcomes(response)), new Set([200, 'TooManyRequests']))
  t.ok(ms < 3_000, `${ms} ms`)
  t.equal(await proxy.metric('evproxy_cache_requests_total{result="error"}'), 100 - answered)
})

await t.test('at the deadline of the whole, an item is an error or a stale answer', async (t) => {
  const env = {
    UPSTREAM_TIMEOUT: '300ms',
    UPSTREAM_QUEUE_TIMEOUT: '100ms',
    UPSTREAM_SOFT_TIMEOUT: '299ms',
    CACHE_TTL: '1ms',
    CACHE_STALE_WHILE_REVALIDATE: '0',
  }
  const { batch, upstream } = await start(t, { env })
  await batch(items('chargingAvailability=known'))
  upstream.script = hang
  const response = await batch(items('chargingAvailability=known', 'chargingAvailability=new'))
  t.strictSame(outcomes(response), [200, 'UpstreamTimeout'])
})

await t.test('a client that leaves detaches from its calls', async (t) => {
  const barrier = new Barrier()
  const { batch, upstream, proxy } = await start(t, { script: waitFor(barrier) })
  const controller = new AbortController()
  const left = batch(stations(2), { signal: controller.signal }).catch(() => 'left')
  await upstream.arrived(2)
  controller.abort()
  t.equal(await left, 'left')
  barrier.open()
  t.strictSame(outcomes(await batch(stations(2))), [200, 200])
  t.equal(upstream.calls.length, 2)
  t.strictSame(
    proxy.logs.filter(({ level }) => Number(level) >= 40),
    [],
  )
})

await t.test('the key of a batch is that of its own query, and is checked first', async (t) => {
  const { post, proxy } = await start(t, { env: { CLIENT_KEYS: 'web=a-key-of-a-client-0123456789' } })
  const key = 'key=a-key-of-a-client-0123456789'
  const inItem = await post(items(`chargingAvailability=A&${key}`))
  t.equal(inItem.status, 403)
  t.equal((await post('no batch')).status, 403)
  t.equal((await post(' '.repeat(100_000))).status, 403)
  t.equal((await post(items('chargingAvailability=A'), { path: `${PATH}?${key}` })).status, 200)
  t.equal(await proxy.metric('evproxy_client_requests_total{client="web"}'), 1)
})

await t.test('a batch counts as many requests as it has distinct stations', async (t) => {
  const env = { CLIENT_RATE_LIMIT: '5' }
  const { post } = await start(t, { env })
  const statuses = async (...bodies: unknown[]) => {
    const received: number[] = []
    await new Promise((resolve) => setTimeout(resolve, 1_050)) // a new window
    for (const body of bodies) received.push((await post(body)).status)
    return received
  }
  const invalid = items('', '', '', '', '', '')
  t.strictSame(
    await statuses(
      stations(3),
      items('chargingAvailability=a', 'chargingAvailability=a'),
      stations(1),
      stations(1),
    ),
    [200, 200, 200, 429],
  )
  t.strictSame(await statuses(stations(1), stations(50), stations(1)), [200, 200, 429], 'admitted whole')
  t.strictSame(
    await statuses(invalid, invalid, invalid, invalid, invalid, invalid),
    [200, 200, 200, 200, 200, 429],
  )
})

await t.test('every waiting item counts for the requests in flight of its client', async (t) => {
  const barrier = new Barrier()
  const { batch, get, upstream, proxy } = await start(t, {
    script: waitFor(barrier),
    env: { CLIENT_MAX_IN_FLIGHT: '3' },
  })
  const running = batch(stations(5))
  await upstream.arrived(3)
  t.equal((await get('chargingAvailability=another')).status, 429)
  barrier.open()
  t.strictSame(outcomes(await running), [200, 200, 200, 'TooManyRequests', 'TooManyRequests'])
  t.equal(await proxy.metric('evproxy_client_limited_total{limit="in_flight"}'), 3)
  t.strictSame(outcomes(await batch(stations(3))), [200, 200, 200], 'cached ones need no slot')
})

await t.test(
  'items over CLIENT_MAX_IN_FLIGHT are counted for the client whose key the batch has',
  async (t) => {
    const { post, proxy } = await start(t, {
      env: { CLIENT_MAX_IN_FLIGHT: '1', CLIENT_KEYS: 'web=a-key-of-a-client-0123456789' },
    })
    await post(stations(3), { path: `${PATH}?key=a-key-of-a-client-0123456789` })
    t.equal(await proxy.metric('evproxy_client_limited_requests_total{client="web"}'), 2)
    t.equal(await proxy.metric('evproxy_client_limited_requests_total{client="none"}'), 0)
  },
)

await t.test('a failed item is no empty list', async (t) => {
  const failing = perCall(({ id }) => (_call, response) => {
    if (id === 'bad') response.writeHead(500).end()
    else sendJson(response, station(id, connector('Chademo', level(50))))
  })
  const { batch } = await start(t, { script: failing })
  const response = await batch(
    items('chargingAvailability=a', 'chargingAvailability=bad', 'chargingAvailability=b'),
  )
  t.strictSame(outcomes(response), [200, 'UpstreamFailed', 200])
  t.notOk('connectors' in (response.batchItems[1] as Item).response)
})
