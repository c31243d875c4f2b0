import { connect } from 'node:net'
import t from 'tap'
import { expectedJson } from '../support/expected.ts'
import { fuzz, FUZZERS, startTarget } from '../support/fuzz-run.ts'
import { commonHeaderProblems, errorResponseProblems } from '../support/error-response.ts'
import type { RawResponse } from '../support/raw-http.ts'
import { sendBytes } from '../support/raw-http.ts'
import { answerStation, Barrier } from '../support/scripted-upstream.ts'
import { perCall, waitFor } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'

/** Present in whatever a request can carry; it may come back in nothing. */
const CANARY = 'cAnArY7'
const TARGET = `/search/2/chargingAvailability.json?chargingAvailability=a&note=${CANARY}`
const XML_TARGET = TARGET.replace('.json', '.xml')
const HOST = 'Host: proxy.example\r\n'
const CLOSE = 'Connection: close\r\n'

/** A request in HTTP/1.1 with one Host, closed after its answer. */
const get = (target: string, headers = '') => `GET ${target} HTTP/1.1\r\n${HOST}${CLOSE}${headers}\r\n`

/** A request for a station that leaves its connection open. */
const kept = (id: string) =>
  `GET /search/2/chargingAvailability.json?chargingAvailability=${id} HTTP/1.1\r\n${HOST}\r\n`

type Case = readonly [name: string, bytes: string, status?: number, code?: string, format?: 'json' | 'xml']

/** Each is refused, as the client's mistake. */
const REFUSED: readonly Case[] = [
  // Whose request is it? (RFC 9112, 3.2)
  ['two Host headers', get(TARGET, 'Host: other.example\r\n')],
  ['two equal Host headers', get(TARGET, HOST)],
  ['two Host headers, for XML', get(XML_TARGET, 'HOST: other.example\r\n'), 400, 'InvalidParameter', 'xml'],
  ['no Host header', `GET ${TARGET} HTTP/1.1\r\n${CLOSE}\r\n`],
  ['no Host header beside an absolute target', `GET http://proxy.example${TARGET} HTTP/1.1\r\n${CLOSE}\r\n`],
  ['two Host headers in HTTP/1.0', `GET ${TARGET} HTTP/1.0\r\n${HOST}${HOST}\r\n`],
  // Where does it end? (RFC 9112, 6 and 11.2)
  ['both lengths', get(TARGET, 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n') + '0\r\n\r\n'],
  [
    'both lengths, for XML',
    get(XML_TARGET, 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n') + '0\r\n\r\n',
    400,
    'InvalidParameter',
    'xml',
  ],
  ['two lengths', get(TARGET, 'Content-Length: 0\r\nContent-Length: 5\r\n') + 'abcde'],
  ['a list of lengths', get(TARGET, 'Content-Length: 5, 5\r\n') + 'abcde'],
  ['a negative length', get(TARGET, 'Content-Length: -1\r\n')],
  ['a length that is no number', get(TARGET, 'Content-Length: 0x5\r\n') + 'abcde'],
  ['a length with a sign', get(TARGET, 'Content-Length: +5\r\n') + 'abcde'],
  ['a coding that is not known', get(TARGET, 'Transfer-Encoding: xchunked\r\n') + '0\r\n\r\n'],
  ['a coding after chunked', get(TARGET, 'Transfer-Encoding: chunked, identity\r\n') + '0\r\n\r\n'],
  ['a chunk without a size', get(TARGET, 'Transfer-Encoding: chunked\r\n') + `${CANARY}\r\n0\r\n\r\n`],
  ['a space before a colon', get(TARGET, 'Transfer-Encoding : chunked\r\n') + '0\r\n\r\n'],
  ['a GET with a body', get(TARGET, 'Content-Length: 5\r\n') + 'abcde'],
  ['a GET with a body in chunks', get(TARGET, 'Transfer-Encoding: chunked\r\n') + '2\r\nhi\r\n0\r\n\r\n'],
  // How is it written? (RFC 9112, 2.2 and 5)
  ['a folded header', get(TARGET, `X-Note: a\r\n ${CANARY}\r\n`)],
  ['a header without a colon', get(TARGET, `${CANARY}\r\n`)],
  ['a header without a colon, for XML', get(XML_TARGET, `${CANARY}\r\n`), 400, 'InvalidParameter', 'xml'],
  ['a header without a name', get(TARGET, `: ${CANARY}\r\n`)],
  ['bare line feeds', get(TARGET).replaceAll('\r\n', '\n')],
  ['bare carriage returns', get(TARGET).replaceAll('\r\n', '\r') + '\r\n\r\n'],
  ['a NUL in the target', get(`${TARGET}\0`)],
  ['a NUL in a header', get(TARGET, `X-Note: ${CANARY}\0\r\n`)],
  ['a NUL in a name', get(TARGET, `X-\0Note: ${CANARY}\r\n`)],
  ['a space in the target', get(`${TARGET} b`)],
  ['no target', `GET HTTP/1.1\r\n${HOST}${CLOSE}\r\n`],
  ['an unknown method', get(TARGET).replace('GET', 'FROB')],
  ['an unknown method, for XML', get(XML_TARGET).replace('GET', 'FROB'), 400, 'InvalidParameter', 'xml'],
  ['a method in lower case', get(TARGET).replace('GET', 'get')],
  ['an unknown version', get(TARGET).replace('HTTP/1.1', 'HTTP/3.7')],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['TLS', `\x16\x03\x01\x00\x05\x01\x00\x00\x01${CANARY}\r\n\r\n`],
  ['garbage', `\xff\xfe${CANARY}\r\n\r\n`],
  ['an empty line too many and garbage', `\r\n\r\n${CANARY}\r\n\r\n`],
  // What does it name?
  ['a percent sign alone in the path', get(`/search/2/chargingAvailability%.json?${CANARY}`)],
  ['bad percent-encoding in the path', get(`/search/2/chargingAvailability%zz.json?note=${CANARY}`)],
  ['bad UTF-8 in the path', get(`/search/2/chargingAvailability.j%ffson?note=${CANARY}`)],
  ['bad percent-encoding, for XML', get('/search/2/charging%zz.xml'), 400, 'InvalidParameter', 'xml'],
  ['bad UTF-8 in the query', get(`${TARGET}%c3%28`)],
  ['bad percent-encoding in the query', get(`${TARGET}%2`)],
  ['an encoded NUL in the id', get(TARGET.replace('=a', '=a%00'))],
  ['another host as a path', get(`//evil.example${TARGET}`), 404, 'NotFound'],
  ['another scheme', get(`ftp://evil.example${TARGET}`), 404, 'NotFound'],
  ['another scheme without slashes', get(`javascript:alert(1)//${CANARY}`)],
  ['an absolute target without a path', get('http://evil.example'), 404, 'NotFound'],
  ['an absolute target with a query alone', get(`http://evil.example?${CANARY}`), 404, 'NotFound'],
  ['an asterisk', get('*'), 404, 'NotFound'],
  ['backslashes', get(`\\search\\2${TARGET}`)],
  // How much of it is there?
  ['a header of 20 KB', get(TARGET, `X-Note: ${CANARY.repeat(3_000)}\r\n`), 431, 'HeadersTooLarge'],
  [
    'a header of 20 KB, for XML',
    get(XML_TARGET, `X-Note: ${CANARY.repeat(3_000)}\r\n`),
    431,
    'HeadersTooLarge',
    'xml',
  ],
  [
    'headers of 20 KB together',
    get(TARGET, `X-Note: ${CANARY.repeat(20)}\r\n`.repeat(130)),
    431,
    'HeadersTooLarge',
  ],
  ['a target of 70 KB', get(TARGET + CANARY.repeat(10_000)), 431, 'HeadersTooLarge'],
  ['a method without an end', 'A'.repeat(70_000)],
  // What else does it want?
  ['a tunnel', `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}${CLOSE}\r\n`, 405, 'MethodNotAllowed'],
  [
    'a body that waits for a go-ahead',
    `POST ${TARGET} HTTP/1.1\r\n${HOST}${CLOSE}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc`,
    405,
    'MethodNotAllowed',
  ],
]

/** Each is odd, and yet a request for the station. */
const SERVED: readonly Case[] = [
  ['HTTP/1.0', `GET ${TARGET} HTTP/1.0\r\n\r\n`],
  ['HTTP/1.0 with a Host', `GET ${TARGET} HTTP/1.0\r\n${HOST}\r\n`],
  ['an absolute target, which counts by its path', get(`http://evil.example${TARGET}`)],
  ['an absolute target in upper case', get(`HTTPS://EVIL.EXAMPLE:8443${TARGET}`)],
  ['an absolute target with credentials', get(`http://user:${CANARY}@evil.example${TARGET}`)],
  ['an empty Host', get(TARGET).replace(HOST, 'Host:\r\n')],
  ['a fragment', get(`${TARGET}#${CANARY}`)],
  ['a length of 0', get(TARGET, 'Content-Length: 0\r\n')],
  ['a go-ahead without a body', get(TARGET, 'Expect: 100-continue\r\n')],
  ['an expectation that nobody knows', get(TARGET, `Expect: ${CANARY}\r\n`)],
  ['a WebSocket', get(TARGET, 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n')],
  [
    'HTTP/2 over clear text',
    get(TARGET, 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n'),
  ],
  ['empty lines before it', `\r\n\r\n${get(TARGET)}`],
  ['a hundred headers', get(TARGET, Array.from({ length: 100 }, (_, i) => `X-${i}: ${i}\r\n`).join(''))],
  ['prototype names as parameters', get(`${TARGET}&__proto__=x&constructor=y&toString=z`)],
]

await t.test('over raw sockets', async (t) => {
  const { proxy, upstream } = await startService(t, { env: { ACCESS_LOG: 'true' } })
  const { port } = proxy.addresses.public
  const send = async (bytes: string) => finalAnswer(await sendBytes(port, Buffer.from(bytes, 'latin1')))
  const stillServes = async () => (await send(get(TARGET))).status === 200

  await t.test('what is no request of ours is refused in the documented shape', async (t) => {
    for (const [name, bytes, status = 400, code = 'InvalidParameter', format = 'json'] of REFUSED) {
      const answer = await send(bytes)
      t.same(errorResponseProblems(answer, { status, code, format }), [], name)
      t.notMatch(answer.raw, CANARY, `${name}: nothing comes back`)
      t.match(answer.headers['date'], /GMT$/, `${name}: a Date`)
      t.equal(answer.headers['content-length'], String(answer.text.length), `${name}: the whole body`)
    }
    t.equal(upstream.calls.length, 0, 'none of them is a call')
    t.ok(await stillServes(), 'and others are served')
  })

  await t.test('what is odd and yet a request is served', async (t) => {
    for (const [name, bytes] of SERVED) {
      const answer = await send(bytes)
      t.equal(answer.status, 200, name)
      t.equal(answer.text, expectedJson(referenceStation('a')), `${name}: the station`)
      t.same(commonHeaderProblems(answer.headers), [], name)
      t.notMatch(answer.raw, CANARY, `${name}: nothing comes back`)
    }
    t.equal(upstream.calls.length, 1, 'for one call')
    t.notMatch(
      upstream.calls[0]?.rawHeaders.join(),
      /evil|proxy\.example/i,
      'to the upstream that was configured',
    )
  })

  await t.test('a preflight for anything is answered', async (t) => {
    const answer = await send(`OPTIONS * HTTP/1.1\r\n${HOST}${CLOSE}\r\n`)
    t.equal(answer.status, 204)
    t.same(commonHeaderProblems(answer.headers), [])
  })

  await t.test('whoever leaves in the middle of a request harms nobody', async (t) => {
    const whole = get(TARGET)
    for (let length = 1; length < whole.length; length += 7) {
      const socket = connect(port, '127.0.0.1')
      await new Promise((resolve) => socket.end(whole.slice(0, length), 'latin1', () => resolve(null)))
      socket.destroy()
    }
    for (const bytes of [
      get(TARGET),
      get('/nothing'),
      CANARY,
      `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}\r\n`,
    ]) {
      for (let i = 0; i < 5; i++) {
        const socket = connect(port, '127.0.0.1').on('error', () => {})
        socket.write(`${bytes}\r\n\r\n`, () => setImmediate(() => socket.resetAndDestroy()))
        await new Promise((resolve) => socket.once('close', resolve))
      }
    }
    t.ok(await stillServes())
  })

  await t.test('the log repeats nothing of what was no request', async (t) => {
    t.ok(proxy.rawLogs.length > 0)
    t.notMatch(proxy.rawLogs.join(''), CANARY)
  })
})

await t.test('on one connection', async (t) => {
  const barrier = new Barrier()
  const { proxy, upstream } = await startService(t, {
    script: perCall(({ id }) => (id === 'held' ? waitFor(barrier) : answerStation)),
  })
  const { port } = proxy.addresses.public
  const bad = `${CANARY}\r\n\r\n`

  await t.test('each refusal has the format of its own request', async (t) => {
    const asXml = (request: string) => request.replace('.json', '.xml')
    const badHeader = kept('one').replace(HOST, `${HOST}Bad Header\r\n`)
    const badMethod = kept('one').replace('GET', 'FROB')
    const badLength = kept('one').replace(HOST, `${HOST}Content-Length: x\r\n`)
    for (const wrong of [badHeader, badMethod, badLength]) {
      for (const [before, then, type] of [
        [kept('one'), asXml(wrong), 'application/xml'],
        [asXml(kept('one')), wrong, 'application/json'],
      ] as const) {
        const { text } = await sendBytes(port, before + then)
        t.same(statuses(text), [200, 400])
        t.match(text.slice(text.lastIndexOf('HTTP/1.1 ')), `content-type: ${type}`)
      }
    }
  })

  await t.test('requests sent together are answered in order', async (t) => {
    const { text } = await sendBytes(port, kept('one') + kept('two') + get(TARGET))
    t.same(statuses(text), [200, 200, 200])
    t.ok(text.indexOf('"chargingAvailability":"one"') < text.indexOf('"chargingAvailability":"two"'))
  })

  await t.test('garbage after a request is refused after its answer', async (t) => {
    const { text } = await sendBytes(port, kept('one') + bad)
    t.same(statuses(text), [200, 400])
    t.notMatch(text, CANARY)
  })

  await t.test('also while that answer has to be fetched', async (t) => {
    const { text } = await sendBytes(port, kept('fetched') + bad)
    t.same(statuses(text), [200, 400])
    t.match(text, '"chargingAvailability":"fetched"')
  })

  await t.test('also while several have to be fetched', async (t) => {
    const answers = sendBytes(port, kept('held') + kept('three') + bad)
    await upstream.arrived(upstream.calls.length + 1)
    barrier.open()
    const { text } = await answers
    t.same(statuses(text), [200, 200, 400])
  })

  await t.test('a request that turns out to be wrong after its headers has one answer', async (t) => {
    const target = '/search/2/chargingAvailability.json?chargingAvailability=one'
    for (const method of ['GET', 'POST']) {
      for (const [coding, body] of [
        ['chunked', `${CANARY}\r\n`],
        ['xchunked', '0\r\n\r\n'],
      ]) {
        const head = `${method} ${target} HTTP/1.1\r\n${HOST}Transfer-Encoding: ${coding}\r\n\r\n`
        const { text } = await sendBytes(port, `${head}${body}`)
        t.equal(statuses(text).length, 1, `${method} ${coding}: ${statuses(text).join()}`)
        t.match(statuses(text)[0], /^40[05]$/)
      }
    }
  })

  await t.test('a refused request ends the connection only if its end is not known', async (t) => {
    const wrong = `GET /search/2/chargingAvailability.json HTTP/1.1\r\n${HOST}\r\n`
    const { text } = await sendBytes(port, wrong + kept('one') + get('/nothing'))
    t.same(statuses(text), [400, 200, 404])
  })
})

await t.test('at random, with fixed seeds; more of the same is `npm run fuzz`', async (t) => {
  const target = await startTarget()
  t.teardown(() => target.stop())
  for (const name of Object.keys(FUZZERS)) {
    await t.test(name, async (t) => {
      await t.resolves(fuzz(target, name, { seed: 42, numRuns: 60 }))
    })
  }
})

await t.test('what is no request still tells whose it was', async (t) => {
  const { proxy } = await startService(t, {
    env: { CORS_ORIGINS: 'https://app.example', ACCESS_LOG: 'true' },
  })
  const { port } = proxy.addresses.public
  const path = '/search/2/chargingAvailability.json'
  const marks = (id: string, origin = 'https://app.example') => `Origin: ${origin}\r\ntracking-id:${id} \r\n`
  const send = async (bytes: string) => finalAnswer(await sendBytes(port, bytes))
  for (const [name, status, bytes] of [
    ['a bad header', 400, (headers: string) => get(`${path}?x`, `${headers}Bad Header\r\n`)],
    ['a tunnel', 405, (headers: string) => `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}${headers}\r\n`],
    ['a target that cannot be decoded', 400, (headers: string) => get(`/%zz?x`, headers)],
  ] as const) {
    const id = name.replaceAll(' ', '-')
    const { headers } = await send(bytes(marks(id)))
    t.equal(headers['access-control-allow-origin'], 'https://app.example', `${name}: CORS`)
    t.equal(headers['tracking-id'], id, `${name}: its Tracking-ID`)
    const accessed = proxy.logs.filter(
      (line) => line['msg'] === 'request answered' && line['trackingId'] === id,
    )
    t.same(
      accessed.map((line) => line['status']),
      [status],
      `${name}: a line of the access log`,
    )

    const stranger = await send(bytes(marks('not valid', 'https://evil.example')))
    t.equal(stranger.headers['access-control-allow-origin'], undefined, `${name}: not for others`)
    t.match(stranger.headers['tracking-id'], /^[0-9a-f-]{36}$/, `${name}: a fresh Tracking-ID`)
  }
  const paths = proxy.logs.map((line) => line['path']).filter((at) => at !== undefined)
  t.same([...new Set(paths)], [path, '', '/%zz'], 'paths without a query')
})

/** What follows the interim answers (100), as the checks want it. */
function finalAnswer({ text: raw }: RawResponse) {
  const final = raw.replace(/^(HTTP\/1\.1 1\d\d [^\r]*\r\n\r\n)+/, '')
  const [head = '', ...body] = final.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
  })
  return {
    status: Number(statusLine.split(' ')[1]),
    headers: Object.fromEntries(headers),
    text: body.join('\r\n\r\n'),
    raw,
  }
}

function statuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}
