import { METHODS } from 'node:http'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import t from 'tap'
import { arrivalsAt } from '../support/arrivals.ts'
import type { WireResponse } from '../support/request.ts'
import { fullText, pathFor } from '../support/request.ts'
import { expectedJson, expectedXml } from '../support/expected.ts'
import { commonHeaderProblems, list, errorResponseProblems } from '../support/error-response.ts'
import { TEST_KEY } from '../support/proxy.ts'
import type { Script, UpstreamCall } from '../support/scripted-upstream.ts'
import { answerStation, answerStatus, Barrier, sendJson } from '../support/scripted-upstream.ts'
import { perCall, waitFor, sendBody, sendRaw, hang } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { connector, level, referenceStation, station } from '../support/stations.ts'
import { until } from '../support/until.ts'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Headers that HTTP itself adds to an answer. */
const OF_HTTP = new Set(['connection', 'date', 'keep-alive', 'transfer-encoding'])

const headerNames = ({ headers }: WireResponse) =>
  Object.keys(headers)
    .filter((name) => !OF_HTTP.has(name))
    .toSorted()

/** A station whose unfiltered JSON has exactly so many bytes. */
function stationOfSize(bytes: number): Script {
  return ({ id }, response) => {
    const bare = { ...referenceStation(id), note: '' }
    sendJson(response, { ...bare, note: 'x'.repeat(bytes - expectedJson(bare).length) })
  }
}

const large = stationOfSize(4_000)

await t.test('a 200', async (t) => {
  const { get, proxy } = await startService(t)

  await t.test('in JSON is the reference answer, minified, powers with a fraction', async (t) => {
    const answer = await get('chargingAvailability=a')
    t.equal(answer.status, 200)
    t.equal(answer.text, expectedJson(referenceStation('a')))
    t.match(answer.text, '"powerKW":50.0,')
  })

  await t.test('in XML is the reference answer, element for element', async (t) => {
    const answer = await get('chargingAvailability=a', { ext: 'xml' })
    t.equal(answer.status, 200)
    t.equal(answer.headers['content-type'], 'application/xml; charset=utf-8')
    t.equal(answer.text, expectedXml(referenceStation('a')))
  })

  await t.test('has the documented headers and no others', async (t) => {
    const answer = await get('chargingAvailability=a')
    t.same(headerNames(answer), [
      'access-control-allow-origin',
      'access-control-expose-headers',
      'age',
      'cache-control',
      'cache-status',
      'content-length',
      'content-type',
      'etag',
      'tracking-id',
      'vary',
      'x-content-type-options',
    ])
    t.same(commonHeaderProblems(answer.headers), [])
    t.match(answer.headers, {
      'cache-control': /^no-cache$/,
      'content-length': String(answer.body.length),
      'content-type': /^application\/json; charset=utf-8$/,
      date: /GMT$/,
      etag: /^"[\x21\x23-\x7e]+"$/,
      vary: /^Accept-Encoding$/i,
    })
  })

  await t.test('repeats no header twice', async (t) => {
    const { rawHeaders } = await get('chargingAvailability=a')
    const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())
    t.same(names.toSorted(), [...new Set(names)].toSorted())
  })

  await t.test('ignores Range, Accept and conditions on dates', async (t) => {
    const plain = await get('chargingAvailability=a')
    const headers = {
      range: 'bytes=0-9',
      'if-range': '"x"',
      accept: 'application/xml, text/html;q=0.9',
      'if-modified-since': 'Fri, 01 Jan 2100 00:00:00 GMT',
    }
    const answer = await get('chargingAvailability=a', { headers })
    t.equal(answer.status, 200)
    t.equal(answer.text, plain.text)
    t.equal(answer.headers['content-range'], undefined)
  })

  await t.test('comes on a kept connection, one after the other', async (t) => {
    for (const _ of [1, 2, 3]) {
      const answer = await fetch(`${proxy.url}${pathFor('chargingAvailability=a')}`)
      t.equal(await answer.text(), expectedJson(referenceStation('a')))
      t.equal(answer.headers.get('connection'), 'keep-alive')
    }
  })
})

await t.test('a 304', async (t) => {
  const { get, upstream } = await startService(t, { script: large })
  const gzip = { 'accept-encoding': 'gzip' }
  const plain = await get('chargingAvailability=a')
  const gzipped = await get('chargingAvailability=a', { headers: gzip })
  const tagOf = { plain: plain.headers.etag ?? '', gzipped: gzipped.headers.etag ?? '' }

  await t.test('repeats the headers of the 200 that it stands for, and has no body', async (t) => {
    const answer = await get('chargingAvailability=a', { headers: { 'if-none-match': tagOf.plain } })
    t.equal(answer.status, 304)
    t.equal(answer.body.length, 0)
    t.same(headerNames(answer), [
      'access-control-allow-origin',
      'access-control-expose-headers',
      'age',
      'cache-control',
      'cache-status',
      'etag',
      'tracking-id',
      'vary',
      'x-content-type-options',
    ])
    t.same(commonHeaderProblems(answer.headers), [])
    for (const name of ['cache-control', 'etag', 'vary'] as const) {
      t.equal(answer.headers[name], plain.headers[name], name)
    }
    t.match(answer.headers.date, /GMT$/)
  })

  await t.test('has a Tracking-ID of its own', async (t) => {
    const headers = { 'if-none-match': tagOf.plain, 'tracking-id': 'mine-1' }
    t.equal((await get('chargingAvailability=a', { headers })).headers['tracking-id'], 'mine-1')
  })

  await t.test('is told by the tag of the coding that would be sent', async (t) => {
    t.not(tagOf.plain, tagOf.gzipped, 'strong tags differ per coding')
    const cases: [coding: Record<string, string>, ifNoneMatch: string, status: number, name: string][] = [
      [{}, tagOf.plain, 304, 'plain'],
      [gzip, tagOf.gzipped, 304, 'gzip'],
      [{}, tagOf.gzipped, 200, 'plain, with the tag of gzip'],
      [gzip, tagOf.plain, 200, 'gzip, with the tag of plain'],
      [{}, `W/${tagOf.plain}`, 304, 'a weak form'],
      [gzip, `W/${tagOf.gzipped}`, 304, 'a weak form of gzip'],
      [{}, '*', 304, 'any'],
      [gzip, ' * ', 304, 'any, of gzip'],
      [{}, `"a", ${tagOf.plain}`, 304, 'a list'],
      [gzip, `W/"a,b",W/${tagOf.gzipped} , "c"`, 304, 'a list with a comma in a tag'],
      [{}, `${tagOf.gzipped}, ${tagOf.plain}`, 304, 'both codings'],
      [{}, '"another"', 200, 'another tag'],
      [{}, tagOf.plain.replaceAll('"', ''), 200, 'a tag without quotes'],
      [{}, `"x${tagOf.plain.slice(1)}`, 200, 'a longer tag'],
      [{}, '', 200, 'nothing'],
    ]
    for (const [coding, ifNoneMatch, status, name] of cases) {
      const answer = await get('chargingAvailability=a', {
        headers: { ...coding, 'if-none-match': ifNoneMatch },
      })
      t.equal(answer.status, status, name)
      t.equal(answer.headers.etag, 'accept-encoding' in coding ? tagOf.gzipped : tagOf.plain, `${name}: tag`)
    }
  })

  await t.test('is told by several header lines as well', async (t) => {
    const headers = { 'if-none-match': ['"a"', tagOf.plain] }
    t.equal((await get('chargingAvailability=a', { headers })).status, 304)
  })

  await t.test('is never told across formats, filters or stations', async (t) => {
    const headers = { 'if-none-match': tagOf.plain }
    t.equal((await get('chargingAvailability=a', { headers, ext: 'xml' })).status, 200)
    t.equal((await get('chargingAvailability=a&minPowerKW=50', { headers })).status, 200)
    t.equal((await get('chargingAvailability=b', { headers })).status, 200)
  })

  await t.test('is told of the present answer alone, and never of an error', async (t) => {
    const headers = { 'if-none-match': '*' }
    t.equal((await get('chargingAvailability=fetched-now', { headers })).status, 304, 'fetched for it')
    t.equal((await get('minPowerKW=1', { headers })).status, 400)
    t.equal((await get('chargingAvailability=a', { headers, ext: 'yaml' })).status, 400)
  })

  t.equal(upstream.callsFor('a'), 1, 'all of it from one call')
  t.notOk(
    upstream.calls.some(({ headers }) => 'if-none-match' in headers),
    'no condition goes upstream',
  )
})

await t.test('gzip', async (t) => {
  const { get } = await startService(t, { script: large })
  await get('chargingAvailability=a')

  await t.test('is sent to those who ask for it, and only to them', async (t) => {
    const cases: [acceptEncoding: string | undefined, gzipped: boolean][] = [
      [undefined, false],
      ['', false],
      ['gzip', true],
      ['GZIP', true],
      ['GZip', true],
      ['gzip, deflate, br, zstd', true],
      ['br;q=1.0, gzip;q=0.8', true],
      ['deflate,gzip', true],
      ['gzip;q=0.001', true],
      ['gzip;q=1.0, identity;q=0.5', true],
      ['gzip,identity', true],
      ['gzip;q=0', false],
      ['gzip;q=0.0', false],
      ['gzip; q=0.000', false],
      ['gzip;q=0, *', false],
      ['*, gzip;q=0', false],
      ['*;q=0', false],
      ['identity', false],
      ['identity;q=1, gzip;q=0.5', false],
      ['br', false],
      ['deflate', false],
      ['br, zstd', false],
      ['not-gzip', false],
      ['gzipped', false],
    ]
    for (const [acceptEncoding, gzipped] of cases) {
      const headers: Record<string, string> =
        acceptEncoding === undefined ? {} : { 'accept-encoding': acceptEncoding }
      const answer = await get('chargingAvailability=a', { headers })
      t.equal(answer.headers['content-encoding'], gzipped ? 'gzip' : undefined, `${acceptEncoding}`)
      t.equal(Buffer.byteLength(answer.text), 4_000, 'the same text')
      t.equal(answer.headers['content-length'], String(answer.body.length), 'its length')
      t.equal(answer.headers.vary?.toLowerCase(), 'accept-encoding', 'Vary, whichever is sent')
    }
  })

  await t.test('a wildcard asks for nothing by name', async (t) => {
    const { headers } = await get('chargingAvailability=a', { headers: { 'accept-encoding': '*' } })
    t.equal(headers['content-encoding'], undefined)
  })

  await t.test('begins at a kilobyte of body, however one counts', async (t) => {
    for (const bytes of [999, 1_000, 1_023, 1_024, 1_025]) {
      const { get } = await startService(t, { script: stationOfSize(bytes) })
      const plain = await get('chargingAvailability=a')
      const asked = await get('chargingAvailability=a', { headers: { 'accept-encoding': 'gzip' } })
      t.equal(plain.body.length, bytes)
      t.equal(asked.text, plain.text)
      t.equal(asked.headers['content-encoding'], bytes < 1_000 ? undefined : 'gzip', `${bytes} bytes`)
      t.equal(
        asked.headers.etag === plain.headers.etag,
        asked.headers['content-encoding'] === undefined,
        'a tag per coding',
      )
    }
  })

  await t.test('goes for XML as well', async (t) => {
    const headers = { 'accept-encoding': 'gzip' }
    const plain = await get('chargingAvailability=a', { ext: 'xml' })
    const gzipped = await get('chargingAvailability=a', { ext: 'xml', headers })
    t.equal(gzipped.headers['content-encoding'], 'gzip')
    t.equal(gzipped.text, plain.text)
    t.not(gzipped.headers.etag, plain.headers.etag)
  })
})

/** The grammar of RFC 9211, as far as it is used here. */
function isOfThisCache(t: Test, header: unknown): void {
  const [cache, ...parameters] = String(header).split('; ')
  t.equal(cache, 'ev-availability-proxy')
  const keys = new Set(parameters.map((parameter) => parameter.split('=')[0]))
  t.not(keys.has('hit'), keys.has('fwd'), 'hit and fwd exclude each other')
  t.notOk(keys.has('key'), 'no key')
}

await t.test('Cache-Status and Age tell how the answer came to be', async (t) => {
  await t.test('miss, then hit', async (t) => {
    const { get } = await startService(t)
    const miss = await get('chargingAvailability=a')
    const hit = await get('chargingAvailability=a')
    for (const { headers } of [miss, hit]) {
      isOfThisCache(t, headers['cache-status'])
      t.equal(headers.age, '0')
    }
    t.match(miss.headers['cache-status'], /; fwd=uri-miss\b.*; stored/)
    t.match(hit.headers['cache-status'], /; hit; ttl=2\d$/)
  })

  await t.test('miss without a store', async (t) => {
    const { get } = await startService(t, { env: { CACHE_TTL: '0' } })
    for (const _ of [1, 2]) {
      const { headers } = await get('chargingAvailability=a')
      isOfThisCache(t, headers['cache-status'])
      t.match(headers['cache-status'], /; fwd=uri-miss/)
      t.notMatch(headers['cache-status'], /stored/)
    }
  })

  await t.test('coalesced', async (t) => {
    const barrier = new Barrier()
    const { get, upstream, proxy } = await startService(t, { script: waitFor(barrier) })
    const arrivals = arrivalsAt(proxy.addresses.public.port)
    t.teardown(arrivals.stop)
    const first = get('chargingAvailability=a')
    await upstream.arrived(1)
    const second = get('chargingAvailability=a')
    await arrivals.reached(2)
    barrier.open()
    t.notMatch((await first).headers['cache-status'], /collapsed/)
    const { headers } = await second
    isOfThisCache(t, headers['cache-status'])
    t.match(headers['cache-status'], /; fwd=uri-miss; collapsed/)
    t.equal(headers.age, '0')
  })

  await t.test('stale while a refresh runs, its Age growing', async (t) => {
    const never = new Barrier()
    const script = perCall(({ number }) => (number > 1 ? waitFor(never) : answerStation))
    const env = { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '1h', UPSTREAM_TIMEOUT: '1m' }
    const { get, upstream } = await startService(t, { script, env })
    await get('chargingAvailability=a')
    let stale = await get('chargingAvailability=a')
    await until('an Age of a second', async () => {
      stale = await get('chargingAvailability=a')
      return stale.headers.age !== '0'
    })
    t.equal(stale.headers.age, '1')
    isOfThisCache(t, stale.headers['cache-status'])
    t.match(stale.headers['cache-status'], /; hit; ttl=-[12]$/)
    t.equal(upstream.calls.length, 2, 'one refresh')
  })

  await t.test('an old answer in place of an error, naming it', async (t) => {
    const script = perCall(({ number }) => (number > 1 ? answerStatus(500) : answerStation))
    const env = { CACHE_TTL: '1ms', CACHE_STALE_WHILE_REVALIDATE: '0' }
    const { get, upstream } = await startService(t, { script, env })
    await get('chargingAvailability=a')
    let old = await get('chargingAvailability=a')
    await until('the answer is old', async () => {
      old = await get('chargingAvailability=a')
      return upstream.calls.length > 1
    })
    t.equal(old.status, 200)
    isOfThisCache(t, old.headers['cache-status'])
    t.match(old.headers['cache-status'], /; hit; ttl=-1; detail=UpstreamFailed$/)
  })
})

await t.test('Tracking-ID', async (t) => {
  const barrier = new Barrier()
  const script = perCall(({ id }) => (id === 'held' ? waitFor(barrier) : answerStation))
  const { get, request, upstream } = await startService(t, { script })
  const given = async (value: string | string[]) =>
    (await get('chargingAvailability=a', { headers: { 'tracking-id': value } })).headers['tracking-id']

  await t.test("is the caller's own if it has the documented form", async (t) => {
    const own = ['a', '0', '-', '9ac68072-c7a4-11e8-a8d5-f2801f1b9fd1', 'x'.repeat(100)]
    for (const id of own) t.equal(await given(id), id)
  })

  await t.test('is a fresh one otherwise, without an error', async (t) => {
    const wrong = ['', 'x'.repeat(101), 'a b', 'a_b', 'ä', 'a.b', 'a,b', '<script>', ['a', 'b']]
    const fresh = await Promise.all([...wrong.map(given), get('chargingAvailability=a').then(idOf)])
    for (const id of fresh) t.match(id, UUID)
    t.equal(new Set(fresh).size, fresh.length, 'each has its own')
  })

  await t.test('is on errors and preflights too', async (t) => {
    const headers = { 'tracking-id': 'mine-2' }
    const answers = [
      request('/nothing/here', { headers }),
      request('/healthz', { headers }),
      get('', { headers }),
      get('chargingAvailability=a', { headers, ext: 'csv' }),
      get('chargingAvailability=a', { headers, method: 'DELETE' }),
      get('chargingAvailability=a', { headers, method: 'OPTIONS' }),
      request('/search/2/chargingAvailability%zz.json', { headers }),
    ]
    for (const answer of await Promise.all(answers)) t.equal(idOf(answer), 'mine-2', `${answer.status}`)
  })

  await t.test('is never that of another call, shared or remembered', async (t) => {
    const waiting = ['one', 'two', 'three'].map((id) =>
      get('chargingAvailability=held', { headers: { 'tracking-id': id } }),
    )
    await until('the call is out', () => upstream.callsFor('held') === 1)
    barrier.open()
    t.same((await Promise.all(waiting)).map(idOf), ['one', 'two', 'three'])
    t.match(idOf(await get('chargingAvailability=held')), UUID, 'nor from the store')
    const sent = upstream.calls.map(({ headers }) => headers['tracking-id'])
    t.notOk(sent.includes('one'), 'and it does not go upstream')
  })
})

await t.test('paths are exact', async (t) => {
  const { request, upstream } = await startService(t)
  const query = '?chargingAvailability=a'
  const cases: [path: string, status: number, format?: 'xml'][] = [
    ['/search/2/chargingAvailability.JSON', 400],
    ['/search/2/chargingAvailability.Json', 400],
    ['/search/2/chargingAvailability.XML', 400],
    ['/search/2/chargingAvailability.', 400],
    ['/search/2/chargingAvailability.jsonp', 400],
    ['/search/2/chargingAvailability.json5', 400],
    ['/search/2/chargingAvailability.html', 400],
    ['/search/2/chargingAvailability..json', 400],
    ['/search/2/chargingAvailability.json.', 400],
    ['/search/2/chargingAvailability.json%20', 400],
    ['/search/2/chargingAvailability.json%00', 400],
    ['/search/2/chargingAvailability.json;v=1', 400],
    ['/search/2/chargingAvailability.json%3Fa', 400],
    ['/search/2/chargingAvailability.js%6Fn', 400],
    ['/search/2/chargingAvailability.x%6Dl', 400],
    [`/search/2/chargingAvailability.${'x'.repeat(8_000)}`, 400],
    [`/search/2/chargingAvailability.${'%41'.repeat(3_000)}`, 400],
    ['/search/2/chargingAvailability', 404],
    ['/search/2/chargingAvailability/json', 404],
    ['/search/2/chargingAvailability.json/', 404],
    ['/search/2/chargingAvailability.json//', 404],
    ['/search/2/chargingAvailability.json/x', 404],
    ['/search/2/chargingAvailability.xml/', 404],
    ['/search/2/chargingavailability.json', 404],
    ['/search/2/ChargingAvailability.json', 404],
    ['/Search/2/chargingAvailability.json', 404],
    ['/search/1/chargingAvailability.json', 404],
    ['/search/3/chargingAvailability.json', 404],
    ['/search/02/chargingAvailability.json', 404],
    ['/search/2.0/chargingAvailability.json', 404],
    ['/search/3/chargingAvailability.xml', 404, 'xml'],
    ['/search//chargingAvailability.json', 404],
    ['/search/2//chargingAvailability.json', 404],
    ['//search/2/chargingAvailability.json', 404],
    ['///search/2/chargingAvailability.json', 404],
    ['/search/2/./chargingAvailability.json', 404],
    ['/search/2/../2/chargingAvailability.json', 404],
    ['/search/2/%2e%2e/chargingAvailability.json', 404],
    ['/search/2%2fchargingAvailability.json', 404],
    ['/search%2F2%2FchargingAvailability.json', 404],
    ['/search/2;a/chargingAvailability.json', 404],
    ['/search/2/chargingAvailability%2Ejson', 404],
    ['/search/2/charging%41vailability.json', 404],
    ['/%73earch/2/chargingAvailability.xml', 404, 'xml'],
    ['/v1/search/2/chargingAvailability.json', 404],
    ['/', 404],
    ['/favicon.ico', 404],
    ['/anything.xml', 404, 'xml'],
    ['/metrics', 404],
  ]
  for (const [path, status, format = 'json'] of cases) {
    const answer = await request(path + query)
    const code = status === 404 ? 'NotFound' : 'InvalidParameter'
    t.same(errorResponseProblems(answer, { status, code, format }), [], path.slice(0, 60))
  }
  t.equal(upstream.calls.length, 0, 'none of them is a call')
})

await t.test('methods', async (t) => {
  const { get, request, upstream } = await startService(t)
  await t.test('all but GET and OPTIONS are 405 and say what is allowed', async (t) => {
    const others = METHODS.filter((method) => !['GET', 'OPTIONS', 'CONNECT', 'HEAD'].includes(method))
    t.ok(others.includes('PROPFIND') && others.includes('TRACE'))
    for (const method of others) {
      for (const format of ['json', 'xml'] as const) {
        const answer = await get('chargingAvailability=a', { method, ext: format })
        t.same(errorResponseProblems(answer, { status: 405, code: 'MethodNotAllowed', format }), [], method)
      }
    }
  })

  await t.test('at the paths of our own too', async (t) => {
    for (const path of ['/healthz', '/openapi.yaml']) {
      const answer = await request(path, { method: 'POST' })
      t.same(errorResponseProblems(answer, { status: 405, code: 'MethodNotAllowed' }), [], path)
    }
  })

  await t.test('HEAD too, without a body', async (t) => {
    const answer = await get('chargingAvailability=a', { method: 'HEAD' })
    t.equal(answer.status, 405)
    t.equal(answer.body.length, 0)
    t.same(list(answer.headers.allow).toSorted(), ['get', 'options'])
    t.same(commonHeaderProblems(answer.headers), [])
  })

  await t.test('a body of any kind changes nothing', async (t) => {
    const bodies: [headers: Record<string, string>, body: string | Buffer][] = [
      [{}, ''],
      [{ 'content-type': 'application/json' }, '{"a":1}'],
      [{ 'content-type': 'application/json' }, '{"a":'],
      [{ 'content-type': 'application/json' }, '{"__proto__":{}}'],
      [{ 'content-type': 'application/json' }, ''],
      [{ 'content-type': 'application/x-www-form-urlencoded' }, 'chargingAvailability=a'],
      [{ 'content-type': 'multipart/form-data; boundary=b' }, '--b\r\n\r\nx\r\n--b--'],
      [{ 'content-type': 'text/plain' }, 'text'],
      [{ 'content-type': 'application/xml' }, '<a/>'],
      [{ 'content-type': 'not a type' }, 'x'],
      [{}, 'no type'],
      [{ 'content-type': 'application/json', 'content-encoding': 'gzip' }, gzipSync('{}')],
      [{ 'transfer-encoding': 'chunked', 'content-type': 'text/plain' }, 'chunk'],
      [{ 'content-type': 'application/json' }, `"${'x'.repeat(20_000)}"`],
      [{ 'content-type': 'application/octet-stream' }, Buffer.alloc(20_000)],
    ]
    for (const [headers, body] of bodies) {
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
        const answer = await get('chargingAvailability=a', { method, headers, body })
        const expected = { status: 405, code: 'MethodNotAllowed' }
        t.same(errorResponseProblems(answer, expected), [], `${method} ${headers['content-type']}`)
      }
    }
  })

  await t.test('no path beside it is found by another method', async (t) => {
    const answer = await request('/search/2/nothing.xml', { method: 'POST', body: 'x' })
    t.same(errorResponseProblems(answer, { status: 404, code: 'NotFound', format: 'xml' }), [])
  })

  await t.test('a wrong ending does not make another method right', async (t) => {
    const answer = await get('chargingAvailability=a', { method: 'POST', ext: 'yaml' })
    t.same(errorResponseProblems(answer, { status: 405, code: 'MethodNotAllowed' }), [])
  })

  t.equal(upstream.calls.length, 0, 'none of them is a call')
})

await t.test('OPTIONS is answered here', async (t) => {
  const { get, upstream } = await startService(t)
  const preflight = {
    origin: 'https://page.example',
    'access-control-request-method': 'GET',
    'access-control-request-headers': 'tracking-id,tomtom-user-agent',
  }

  await t.test('a preflight says what may be sent, and for how long that holds', async (t) => {
    const answer = await get('chargingAvailability=a', { method: 'OPTIONS', headers: preflight })
    t.match(answer.status, /^20[04]$/)
    t.equal(answer.body.length, 0)
    t.same(commonHeaderProblems(answer.headers), [])
    t.ok(list(answer.headers['access-control-allow-methods']).includes('get'))
    t.match(list(answer.headers['access-control-allow-headers']), ['tracking-id', 'tomtom-user-agent'])
    t.match(answer.headers['access-control-max-age'], /^[1-9]\d*$/)
    t.ok(Number(answer.headers['access-control-max-age']) >= 600, 'long enough to matter')
  })

  await t.test('a plain OPTIONS too, with or without what a GET would need', async (t) => {
    for (const query of ['chargingAvailability=a', '', 'minPowerKW=x']) {
      const answer = await get(query, { method: 'OPTIONS' })
      t.match(answer.status, /^20[04]$/)
      t.same(commonHeaderProblems(answer.headers), [])
    }
  })

  t.equal(upstream.calls.length, 0, 'and is no call')
})

await t.test('origins', async (t) => {
  const APP = 'https://app.example'
  const OTHER = 'http://localhost:5173'
  const kinds: [name: string, query: string, options: { ext?: string; method?: string }][] = [
    ['200', 'chargingAvailability=a', {}],
    ['400', '', {}],
    ['400 in XML', 'minPowerKW=x', { ext: 'xml' }],
    ['wrong ending', 'chargingAvailability=a', { ext: 'yaml' }],
    ['404 of upstream', 'chargingAvailability=gone', {}],
    ['405', 'chargingAvailability=a', { method: 'POST' }],
    ['502', 'chargingAvailability=broken', {}],
    ['preflight', 'chargingAvailability=a', { method: 'OPTIONS' }],
  ]
  const script = perCall(({ id }) => {
    if (id === 'gone') return answerStatus(404)
    return id === 'broken' ? answerStatus(500) : answerStation
  })

  await t.test('any may read every kind of answer, without credentials', async (t) => {
    const { get } = await startService(t, { script })
    for (const origin of [APP, 'null', 'https://evil.example']) {
      for (const [name, query, options] of kinds) {
        const { headers } = await get(query, { ...options, headers: { origin } })
        t.same(commonHeaderProblems(headers), [], name)
        t.equal(headers['access-control-allow-credentials'], undefined, `${name}: no credentials with *`)
      }
    }
  })

  await t.test('named ones are reflected, with credentials; others are not', async (t) => {
    const { get, request } = await startService(t, { script, env: { CORS_ORIGINS: `${APP},${OTHER}` } })
    const strangers = [
      'https://evil.example',
      `${APP}.evil.example`,
      `${APP}:8443`,
      'http://app.example',
      'null',
      undefined,
    ]
    for (const origin of [APP, OTHER, ...strangers]) {
      const headers: Record<string, string> = origin === undefined ? {} : { origin }
      const answers = kinds.map(
        async ([name, query, options]) => [name, await get(query, { ...options, headers })] as const,
      )
      const early = request('/search/2/chargingAvailability%zz.json', { headers })
      answers.push(early.then((answer) => ['a target that cannot be decoded', answer] as const))
      for (const [name, answer] of await Promise.all(answers)) {
        const allowed = answer.headers['access-control-allow-origin']
        const known = origin === APP || origin === OTHER
        t.equal(allowed, known ? origin : undefined, `${name} for ${origin}`)
        const vary = list(answer.headers.vary)
        t.ok(vary.includes('origin') && vary.includes('accept-encoding'), `${name}: Vary ${vary.join()}`)
        if (known) t.equal(answer.headers['access-control-allow-credentials'], 'true', name)
        t.match(answer.headers['access-control-expose-headers'], /Tracking-ID/i, name)
      }
    }
  })

  await t.test('a 304 is readable as its 200 was', async (t) => {
    const { get } = await startService(t, { script, env: { CORS_ORIGINS: APP } })
    const headers = { origin: APP, 'if-none-match': '*' }
    const answer = await get('chargingAvailability=a', { headers })
    t.equal(answer.status, 304)
    t.equal(answer.headers['access-control-allow-origin'], APP)
    t.equal(answer.headers['access-control-allow-credentials'], 'true')
    t.ok(list(answer.headers.vary).includes('origin'))
  })
})

await t.test('a wrong request is refused by the rule that it breaks', async (t) => {
  const { get, upstream } = await startService(t)
  const long = 'x'.repeat(129)
  const cases: [query: string, code: string][] = [
    ['', 'MissingParameter'],
    ['chargingAvailability=', 'MissingParameter'],
    ['chargingAvailability', 'MissingParameter'],
    ['ChargingAvailability=a', 'MissingParameter'],
    ['key=k&minPowerKW=22', 'MissingParameter'],
    ['chargingAvailability=a&chargingAvailability=a', 'InvalidParameter'],
    ['chargingAvailability=a&chargingAvailability=', 'InvalidParameter'],
    [`chargingAvailability=${long}`, 'InvalidParameter'],
    ['chargingAvailability=a%00', 'InvalidParameter'],
    ['chargingAvailability=a%0Ab', 'InvalidParameter'],
    ['chargingAvailability=a%7F', 'InvalidParameter'],
    ['chargingAvailability=%ff', 'InvalidParameter'],
    ['chargingAvailability=%zz', 'InvalidParameter'],
    ['chargingAvailability=a&note=%c3%28', 'InvalidParameter'],
    ['chargingAvailability=a&connectorSet=A-B', 'InvalidParameter'],
    ['chargingAvailability=a&connectorSet=A%20', 'InvalidParameter'],
    [`chargingAvailability=a&connectorSet=${'x'.repeat(65)}`, 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=', 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=-1', 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=0x10', 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=1e400', 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=NaN', 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=Infinity', 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=22,2', 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=1&minPowerKW=1', 'InvalidParameter'],
    ['chargingAvailability=a&maxPowerKW=.', 'InvalidParameter'],
    ['chargingAvailability=a&maxPowerKW=+1', 'InvalidParameter'],
    ['chargingAvailability=a&minPowerKW=50&maxPowerKW=22', 'InvalidParameter'],
  ]
  for (const [query, code] of cases) {
    for (const format of ['json', 'xml'] as const) {
      const answer = await get(query, { ext: format })
      t.same(
        errorResponseProblems(answer, { status: 400, code, format }),
        [],
        `${query.slice(0, 60)} in ${format}`,
      )
    }
  }
  const { text } = await get('')
  t.match(JSON.parse(text), {
    message: /^Missing parameter 'chargingAvailability'$/,
    detailedError: { message: /^Missing required parameter 'chargingAvailability'\.$/ },
  })
  t.equal(upstream.calls.length, 0, 'none of them is a call')
})

await t.test('an id is passed on as it is, whatever it is made of', async (t) => {
  const { get, upstream } = await startService(t)
  const ids = ['1', '840089001212461', 'a/b', 'a,b', 'a|b:c', '../x', 'a&key=b', 'é', '漢字', '😀', 'a b']
  const odd = ['a?b#c', '%41', 'a;b', '"', '<', '__proto__', 'constructor', 'x'.repeat(128)]
  for (const id of [...ids, ...odd]) {
    const answer = await get(`chargingAvailability=${encodeURIComponent(id)}`)
    t.equal(answer.status, 200, id)
    t.equal(answer.text, expectedJson(referenceStation(id)))
    t.equal(upstream.callsFor(id), 1)
  }
  t.equal(
    (await get('chargingAvailability=a+b')).headers['cache-status']?.includes('hit'),
    true,
    '+ is a space',
  )
})

await t.test('all spellings of a filter are one call and the same bytes', async (t) => {
  const rows = station('s', connector('A', level(22.2), level(50)), connector('B', level(22)), connector('C'))
  const script: Script = ({ id }, response) => sendJson(response, { ...rows, chargingAvailability: id })
  const { get, upstream } = await startService(t, { script })
  const groups: [expected: ReturnType<typeof station>, spellings: string[]][] = [
    [
      station('s', connector('A', level(22.2), level(50)), connector('B', level(22))),
      [
        'chargingAvailability=s&connectorSet=A,B',
        'chargingAvailability=s&connectorSet=B,A',
        'connectorSet=A%2CB&chargingAvailability=s',
        'connectorSet=A&chargingAvailability=s&connectorSet=B',
        'connectorSet=A,,B,&chargingAvailability=s',
        'connectorSet=B&connectorSet=A,B&chargingAvailability=s&key=k',
        'connectorSet=A,B,Unheard&chargingAvailability=s&unknown=1&unknown=2',
        '&chargingAvailability=s&&connectorSet=%41,%42&',
      ],
    ],
    [
      station('s', connector('A', level(22.2), level(50)), connector('B', level(22))),
      [
        'chargingAvailability=s&minPowerKW=22',
        'chargingAvailability=s&minPowerKW=22.0',
        'chargingAvailability=s&minPowerKW=022.',
        'chargingAvailability=s&minPowerKW=2.2e1',
        'chargingAvailability=s&minPowerKW=2.2E%2B1',
        'minPowerKW=22&maxPowerKW=50&chargingAvailability=%73',
        'chargingAvailability=s&minPowerKW=.5&maxPowerKW=1e%2B21',
        'chargingAvailability=s&minPowerKW=0',
      ],
    ],
    [
      station('s', connector('A', level(22.2))),
      [
        'chargingAvailability=s&minPowerKW=22.1&maxPowerKW=49.9',
        'chargingAvailability=s&minPowerKW=22.2&maxPowerKW=22.2',
        'chargingAvailability=s&connectorSet=A&maxPowerKW=30',
      ],
    ],
    [
      rows,
      [
        'chargingAvailability=s',
        'chargingAvailability=s&connectorSet=',
        'chargingAvailability=s&connectorSet=,,',
        'chargingAvailability=s&ConnectorSet=A&minpowerkw=1',
        'chargingAvailability=s&x;minPowerKW=50',
      ],
    ],
    [station('s'), ['chargingAvailability=s&connectorSet=a', 'chargingAvailability=s&minPowerKW=50.1']],
  ]
  for (const [expected, spellings] of groups) {
    for (const ext of ['json', 'xml']) {
      const body = ext === 'json' ? expectedJson(expected) : expectedXml(expected)
      for (const spelling of spellings)
        t.equal((await get(spelling, { ext })).text, body, `${ext} ${spelling}`)
    }
  }
  t.equal(upstream.calls.length, 1)
})

await t.test('nothing of a request comes back or goes on', async (t) => {
  const script = perCall(({ id }) => (id.startsWith('refused') ? answerStatus(404) : answerStation))
  const { get, request, upstream, proxy } = await startService(t, { script, env: { ACCESS_LOG: 'true' } })
  const tokens: string[] = []
  const token = () => {
    const made = `Tok${(tokens.length + 1_000).toString(36)}en`
    tokens.push(made)
    return made
  }
  const headers = () => ({
    authorization: `Bearer ${token()}`,
    cookie: `session=${token()}`,
    referer: `https://${token()}.example/`,
    'user-agent': token(),
    'x-forwarded-for': token(),
    'x-forwarded-host': token(),
    'x-forwarded-proto': token(),
    forwarded: `for=${token()}`,
    'x-original-url': `/${token()}`,
    'x-rewrite-url': `/${token()}`,
    'x-http-method-override': token(),
    'tomtom-user-agent': token(),
    'accept-language': token(),
    traceparent: token(),
    'if-none-match': `"${token()}"`,
    range: token(),
    origin: `https://${token()}.example`,
    [`x-${token()}`]: token(),
    via: token(),
    te: token(),
    'proxy-authorization': token(),
    'x-api-key': token(),
  })
  const extra = () => `key=${token()}&apiVersion=${token()}&${token()}=${token()}&callback=${token()}`

  const answers = await Promise.all([
    get(`chargingAvailability=a&connectorSet=${token()}&${extra()}`, { headers: headers() }),
    get(extra(), { headers: headers() }),
    get(`chargingAvailability=${token()}&chargingAvailability=${token()}`, {
      headers: headers(),
      ext: 'xml',
    }),
    get(`chargingAvailability=${token()}%00&${extra()}`, { headers: headers() }),
    get(`chargingAvailability=a&connectorSet=%3C${token()}%3E`, { headers: headers(), ext: 'xml' }),
    get(`chargingAvailability=a&minPowerKW=${token()}`, { headers: headers() }),
    get(`chargingAvailability=a&maxPowerKW=${token()}`, { headers: headers(), ext: 'xml' }),
    get(`chargingAvailability=a&${extra()}`, { headers: headers(), ext: token() }),
    get(`chargingAvailability=a&${extra()}`, { headers: headers(), method: 'POST', body: token() }),
    get(`chargingAvailability=a&${extra()}%ff`, { headers: headers() }),
    request(`/${token()}/${token()}?${extra()}`, { headers: headers() }),
    request(`/${token()}.xml?${extra()}`, { headers: headers(), method: 'PUT' }),
    request(`/search/2/chargingAvailability%zz${token()}.json`, { headers: headers() }),
    get(`chargingAvailability=refused-${token()}`, { headers: headers() }),
    get('chargingAvailability=a', { headers: { 'tracking-id': `${token()} ${token()}` } }),
  ])

  await t.test('no answer repeats a value, a name, a path or a header', async (t) => {
    for (const answer of answers) {
      const all = fullText(answer)
      t.same(
        tokens.filter((made) => all.toLowerCase().includes(made.toLowerCase())),
        [],
        `${answer.status}`,
      )
    }
  })

  await t.test('upstream gets the id and the key, and no header of a client', async (t) => {
    t.ok(upstream.calls.length > 0)
    for (const { url, id, headers, rawHeaders } of upstream.calls) {
      t.equal(url.pathname, '/search/2/chargingAvailability.json')
      t.same([...url.searchParams.keys()].toSorted(), ['chargingAvailability', 'key'])
      t.equal(url.searchParams.get('key'), TEST_KEY)
      const known = new Set(['accept', 'accept-encoding', 'connection', 'host', 'tracking-id', 'user-agent'])
      t.same(
        Object.keys(headers).filter((name) => !known.has(name)),
        [],
      )
      t.match(headers['tracking-id'], UUID)
      const sent = rawHeaders.join('\n').toLowerCase()
      t.same(
        tokens.filter((made) => sent.includes(made.toLowerCase()) && !id.includes(made)),
        [],
      )
    }
  })

  await t.test('the log tells nothing of keys, cookies and credentials', async (t) => {
    const answered = () => proxy.rawLogs.filter((line) => line.includes('request answered')).length
    await until('all are logged', () => answered() >= answers.length - 1) // one target could not be decoded
    const logged = proxy.rawLogs.join('\n')
    t.notMatch(logged, /Bearer|session=|key=/)
  })
})

await t.test('what upstream says or fails to say', async (t) => {
  const reference = JSON.stringify(referenceStation('a'))
  const refuses = { status: 502, code: 'UpstreamRefused' }
  const fails = { status: 502, code: 'UpstreamFailed' }
  const throttles = { status: 429, code: 'TooManyRequests' }
  const html = '<html>secret-of-upstream</html>'
  const cases: [name: string, script: Script, expected: { status: number; code: string }][] = [
    ['400', answerStatus(400, html), { status: 400, code: 'InvalidParameter' }],
    ['404', answerStatus(404, html), { status: 404, code: 'NotFound' }],
    ['401', answerStatus(401, html), refuses],
    ['403', answerStatus(403, '{"detailedError":{"code":"secret-of-upstream"}}'), refuses],
    ['403 of the older gateway', answerStatus(403, '<h1>Developer Over Qps</h1>'), refuses],
    ['429', answerStatus(429, html), throttles],
    ['429 with Retry-After: 0', answerStatus(429, '', { 'retry-after': '0' }), throttles],
    [
      '429 with a date gone by',
      answerStatus(429, '', { 'retry-after': 'Mon, 01 Jan 2001 00:00:00 GMT' }),
      throttles,
    ],
    ['500', answerStatus(500, html), fails],
    ['502', answerStatus(502, html), fails],
    ['503', answerStatus(503, 'no healthy upstream'), fails],
    ['504', answerStatus(504, html), fails],
    ['596', answerStatus(596, '<h1>596 Service Not Found</h1>'), fails],
    ['a redirect', answerStatus(302, '', { location: '/elsewhere' }), fails],
    ['204', answerStatus(204), fails],
    ['206', answerStatus(206, reference), fails],
    ['410', answerStatus(410, html), fails],
    ['an empty body', sendBody(''), fails],
    ['HTML with 200', sendBody(html, { 'content-type': 'text/html' }), fails],
    ['half of an answer', sendBody(reference.slice(0, 100)), fails],
    ['another id', sendBody(JSON.stringify(referenceStation('b'))), fails],
    ['an array', sendBody('[]'), fails],
    ['null', sendBody('null'), fails],
    ['no connectors', sendBody('{"chargingAvailability":"a"}'), fails],
    ['connectors of null', sendBody('{"chargingAvailability":"a","connectors":[null]}'), fails],
    [
      'a connector without a type',
      sendBody('{"chargingAvailability":"a","connectors":[{"availability":{}}]}'),
      fails,
    ],
    [
      'an error with 200',
      sendBody('{"detailedError":{"code":"Forbidden","message":"secret-of-upstream"}}'),
      fails,
    ],
    ['a coding that was not asked for', sendBody('x', { 'content-encoding': 'br' }), fails],
    ['gzip that is none', sendBody('x', { 'content-encoding': 'gzip' }), fails],
    ['a gzip bomb', sendBody(gzipSync(Buffer.alloc(10_000_000)), { 'content-encoding': 'gzip' }), fails],
    ['a body of 2 MB', sendBody(JSON.stringify({ x: 'x'.repeat(2_000_000) })), fails],
    ['a broken connection', (_call, response) => void response.destroy(), fails],
    [
      'a connection broken within the body',
      sendRaw('HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"'),
      fails,
    ],
    ['what is no HTTP', sendRaw('SSH-2.0-secret-of-upstream\r\n\r\n'), fails],
    ['silence', hang, { status: 504, code: 'UpstreamTimeout' }],
    [
      'headers and then silence',
      (_call, response) => void response.writeHead(200).write('{'),
      { status: 504, code: 'UpstreamTimeout' },
    ],
  ]
  for (const [name, script, expected] of cases) {
    await t.test(`${name} is ${expected.status} ${expected.code}`, async (t) => {
      const env = { UPSTREAM_TIMEOUT: '250ms' }
      const { get, upstream } = await startService(t, { script, env })
      for (const format of ['json', 'xml'] as const) {
        const answer = await get('chargingAvailability=a', { ext: format })
        t.same(errorResponseProblems(answer, { ...expected, format }), [])
        t.notMatch(fullText(answer), /secret-of-upstream|elsewhere|Developer/, 'nothing of it is passed on')
      }
      t.ok(upstream.calls.length <= 2, 'a failure is not asked for again and again')
      t.same(upstream.calls.filter(isElsewhere), [], 'and nothing else is asked for')
    })
  }

  await t.test('nobody there is 502 UpstreamFailed', async (t) => {
    const { get, upstream } = await startService(t)
    await upstream.stop()
    for (const format of ['json', 'xml'] as const) {
      const answer = await get('chargingAvailability=a', { ext: format })
      t.same(errorResponseProblems(answer, { ...fails, format }), [])
    }
  })

  await t.test('its Retry-After is passed on, within reason', async (t) => {
    const { get } = await startService(t, { script: answerStatus(429, '', { 'retry-after': '7' }) })
    const { headers } = await get('chargingAvailability=a')
    t.ok(
      Number(headers['retry-after']) >= 1 && Number(headers['retry-after']) <= 7,
      String(headers['retry-after']),
    )
  })

  await t.test('what breaks once is tried once more', async (t) => {
    const once: [name: string, script: Script, calls: number][] = [
      ['a broken connection', (_call, response) => void response.destroy(), 2],
      ['a connection broken within the body', sendRaw('HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"'), 2],
      ['502', answerStatus(502), 2],
      ['503', answerStatus(503), 2],
      ['504', answerStatus(504), 2],
      ['500', answerStatus(500), 1],
      ['404', answerStatus(404), 1],
      ['429', answerStatus(429), 1],
      ['no answer', sendBody('{}'), 1],
    ]
    for (const [name, script, calls] of once) {
      const { get, upstream, proxy } = await startService(t, {
        script: perCall(({ number }) => (number === 1 ? script : answerStation)),
      })
      const { status } = await get('chargingAvailability=a')
      t.equal(status === 200, calls === 2, `${name}: ${status}`)
      t.equal(upstream.calls.length, calls, `${name}: calls`)
      const counted = await proxy.metric('evproxy_upstream_request_duration_seconds_count')
      t.equal(counted, calls, `${name}: each attempt is counted`)
    }
  })

  await t.test('a station without connectors is an answer', async (t) => {
    const { get } = await startService(t, { script: ({ id }, response) => sendJson(response, station(id)) })
    const answer = await get('chargingAvailability=1')
    t.equal(answer.status, 200)
    t.equal(answer.text, '{"connectors":[],"chargingAvailability":"1"}')
    t.equal((await get('chargingAvailability=1', { ext: 'xml' })).text, expectedXml(station('1')))
  })

  await t.test('members and types that nobody knows yet stay', async (t) => {
    const body = {
      connectors: [
        { type: 'Hyper9', total: 1, availability: { current: {}, perPowerLevel: [] }, fast: true },
      ],
      chargingAvailability: 'a',
      operator: { name: 'x', nets: [1, 2] },
    }
    const { get } = await startService(t, { script: (_call, response) => sendJson(response, body) })
    t.equal((await get('chargingAvailability=a')).text, JSON.stringify(body))
  })
})

await t.test('beside the mirrored route', async (t) => {
  const { request, upstream } = await startService(t)

  await t.test('/healthz is 200 while the process lives', async (t) => {
    const answer = await request('/healthz')
    t.equal(answer.status, 200)
    t.same(commonHeaderProblems(answer.headers), [])
  })

  await t.test('/openapi.yaml is there', async (t) => {
    const answer = await request('/openapi.yaml')
    t.equal(answer.status, 200)
    t.match(answer.headers['content-type'], /yaml/)
    t.match(answer.text, /^openapi: /m)
    t.same(commonHeaderProblems(answer.headers), [])
  })

  t.equal(upstream.calls.length, 0)
})

function idOf({ headers }: WireResponse): string | string[] | undefined {
  return headers['tracking-id']
}

function isElsewhere({ url }: UpstreamCall): boolean {
  return url.pathname !== '/search/2/chargingAvailability.json'
}
