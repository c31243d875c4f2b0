import { connect } from 'node:net'
import t from 'tap'
import { commonHeaderProblems, errorResponseProblems } from '../support/error-response.ts'
import { expectedJson } from '../support/expected.ts'
import { ensureNoneInFlight } from '../support/fuzz-breaking.ts'
import { aboveRest, ensureAtRest } from '../support/fuzz-rest.ts'
import { fuzz, FUZZERS, startTarget } from '../support/fuzz-run.ts'
import { sendBytes } from '../support/raw-http.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'
import { problemsByCase } from './cases.ts'
import { CANARY, CLOSE, finalResponse, getAndClose, HOST, TARGET, XML_TARGET } from './raw-requests.ts'

type Case = readonly [name: string, bytes: string, status?: number, code?: string, format?: 'json' | 'xml']

/** Requests that are rejected as client errors. */
const REJECTED: readonly Case[] = [
  // Host (RFC 9112, 3.2)
  ['two Host headers', getAndClose(TARGET, 'Host: other.example\r\n')],
  ['two equal Host headers', getAndClose(TARGET, HOST)],
  [
    'two Host headers, for XML',
    getAndClose(XML_TARGET, 'HOST: other.example\r\n'),
    400,
    'InvalidParameter',
    'xml',
  ],
  ['no Host header', `GET ${TARGET} HTTP/1.1\r\n${CLOSE}\r\n`],
  ['no Host header beside an absolute target', `GET http://proxy.example${TARGET} HTTP/1.1\r\n${CLOSE}\r\n`],
  ['two Host headers in HTTP/1.0', `GET ${TARGET} HTTP/1.0\r\n${HOST}${HOST}\r\n`],
  // Message framing (RFC 9112, 6 and 11.2)
  ['both lengths', getAndClose(TARGET, 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n') + '0\r\n\r\n'],
  [
    'both lengths, for XML',
    getAndClose(XML_TARGET, 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n') + '0\r\n\r\n',
    400,
    'InvalidParameter',
    'xml',
  ],
  ['two lengths', getAndClose(TARGET, 'Content-Length: 0\r\nContent-Length: 5\r\n') + 'abcde'],
  ['a list of lengths', getAndClose(TARGET, 'Content-Length: 5, 5\r\n') + 'abcde'],
  ['a negative length', getAndClose(TARGET, 'Content-Length: -1\r\n')],
  ['a length that is not a number', getAndClose(TARGET, 'Content-Length: 0x5\r\n') + 'abcde'],
  ['a length with a sign', getAndClose(TARGET, 'Content-Length: +5\r\n') + 'abcde'],
  ['an unknown coding', getAndClose(TARGET, 'Transfer-Encoding: xchunked\r\n') + '0\r\n\r\n'],
  ['a coding after chunked', getAndClose(TARGET, 'Transfer-Encoding: chunked, identity\r\n') + '0\r\n\r\n'],
  [
    'a chunk without a size',
    getAndClose(TARGET, 'Transfer-Encoding: chunked\r\n') + `${CANARY}\r\n0\r\n\r\n`,
  ],
  ['a space before a colon', getAndClose(TARGET, 'Transfer-Encoding : chunked\r\n') + '0\r\n\r\n'],
  ['a GET with a body', getAndClose(TARGET, 'Content-Length: 5\r\n') + 'abcde'],
  [
    'a GET with a body in chunks',
    getAndClose(TARGET, 'Transfer-Encoding: chunked\r\n') + '2\r\nhi\r\n0\r\n\r\n',
  ],
  // Syntax (RFC 9112, 2.2 and 5)
  ['a folded header', getAndClose(TARGET, `X-Note: a\r\n ${CANARY}\r\n`)],
  ['a header without a colon', getAndClose(TARGET, `${CANARY}\r\n`)],
  [
    'a header without a colon, for XML',
    getAndClose(XML_TARGET, `${CANARY}\r\n`),
    400,
    'InvalidParameter',
    'xml',
  ],
  ['a header without a name', getAndClose(TARGET, `: ${CANARY}\r\n`)],
  ['bare line feeds', getAndClose(TARGET).replaceAll('\r\n', '\n')],
  ['bare carriage returns', getAndClose(TARGET).replaceAll('\r\n', '\r') + '\r\n\r\n'],
  ['a NUL in the target', getAndClose(`${TARGET}\0`)],
  ['a NUL in a header', getAndClose(TARGET, `X-Note: ${CANARY}\0\r\n`)],
  ['a NUL in a name', getAndClose(TARGET, `X-\0Note: ${CANARY}\r\n`)],
  ['a space in the target', getAndClose(`${TARGET} b`)],
  ['no target', `GET HTTP/1.1\r\n${HOST}${CLOSE}\r\n`],
  ['an unknown method', getAndClose(TARGET).replace('GET', 'FROB')],
  [
    'an unknown method, for XML',
    getAndClose(XML_TARGET).replace('GET', 'FROB'),
    400,
    'InvalidParameter',
    'xml',
  ],
  ['a method in lower case', getAndClose(TARGET).replace('GET', 'get')],
  ['an unknown version', getAndClose(TARGET).replace('HTTP/1.1', 'HTTP/3.7')],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['TLS', `\x16\x03\x01\x00\x05\x01\x00\x00\x01${CANARY}\r\n\r\n`],
  ['garbage', `\xff\xfe${CANARY}\r\n\r\n`],
  ['empty lines and garbage', `\r\n\r\n${CANARY}\r\n\r\n`],
  // Target
  ['a single percent sign in the path', getAndClose(`/search/2/chargingAvailability%.json?${CANARY}`)],
  ['bad percent-encoding in the path', getAndClose(`/search/2/chargingAvailability%zz.json?note=${CANARY}`)],
  ['bad UTF-8 in the path', getAndClose(`/search/2/chargingAvailability.j%ffson?note=${CANARY}`)],
  ['bad percent-encoding, for XML', getAndClose('/search/2/charging%zz.xml'), 400, 'InvalidParameter', 'xml'],
  ['bad UTF-8 in the query', getAndClose(`${TARGET}%c3%28`)],
  ['bad percent-encoding in the query', getAndClose(`${TARGET}%2`)],
  ['an encoded NUL in the id', getAndClose(TARGET.replace('=a', '=a%00'))],
  ['another host in the path', getAndClose(`//evil.example${TARGET}`), 404, 'NotFound'],
  ['another scheme', getAndClose(`ftp://evil.example${TARGET}`), 404, 'NotFound'],
  ['another scheme without slashes', getAndClose(`javascript:alert(1)//${CANARY}`)],
  ['an absolute target without a path', getAndClose('http://evil.example'), 404, 'NotFound'],
  ['an absolute target with a query only', getAndClose(`http://evil.example?${CANARY}`), 404, 'NotFound'],
  ['an asterisk', getAndClose('*'), 404, 'NotFound'],
  ['backslashes', getAndClose(`\\search\\2${TARGET}`)],
  // Size
  ['a header of 20 KB', getAndClose(TARGET, `X-Note: ${CANARY.repeat(3_000)}\r\n`), 431, 'HeadersTooLarge'],
  [
    'a header of 20 KB, for XML',
    getAndClose(XML_TARGET, `X-Note: ${CANARY.repeat(3_000)}\r\n`),
    431,
    'HeadersTooLarge',
    'xml',
  ],
  [
    'headers of 20 KB together',
    getAndClose(TARGET, `X-Note: ${CANARY.repeat(20)}\r\n`.repeat(130)),
    431,
    'HeadersTooLarge',
  ],
  ['a target of 70 KB', getAndClose(TARGET + CANARY.repeat(10_000)), 431, 'HeadersTooLarge'],
  ['an endless method', 'A'.repeat(70_000)],
  // CONNECT and Expect
  ['a tunnel', `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}${CLOSE}\r\n`, 405, 'MethodNotAllowed'],
  [
    'a POST with Expect: 100-continue',
    `POST ${TARGET} HTTP/1.1\r\n${HOST}${CLOSE}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc`,
    405,
    'MethodNotAllowed',
  ],
]

/** Unusual requests that are valid. */
const VALID: readonly Case[] = [
  ['HTTP/1.0', `GET ${TARGET} HTTP/1.0\r\n\r\n`],
  ['HTTP/1.0 with a Host', `GET ${TARGET} HTTP/1.0\r\n${HOST}\r\n`],
  ['an absolute target', getAndClose(`http://evil.example${TARGET}`)],
  ['an absolute target in upper case', getAndClose(`HTTPS://EVIL.EXAMPLE:8443${TARGET}`)],
  ['an absolute target with credentials', getAndClose(`http://user:${CANARY}@evil.example${TARGET}`)],
  ['an empty Host', getAndClose(TARGET).replace(HOST, 'Host:\r\n')],
  ['a fragment', getAndClose(`${TARGET}#${CANARY}`)],
  ['a length of 0', getAndClose(TARGET, 'Content-Length: 0\r\n')],
  ['Expect: 100-continue without a body', getAndClose(TARGET, 'Expect: 100-continue\r\n')],
  ['an unknown expectation', getAndClose(TARGET, `Expect: ${CANARY}\r\n`)],
  [
    'a WebSocket',
    getAndClose(TARGET, 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'),
  ],
  [
    'HTTP/2 over clear text',
    getAndClose(TARGET, 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n'),
  ],
  ['empty lines before it', `\r\n\r\n${getAndClose(TARGET)}`],
  [
    'a hundred headers',
    getAndClose(TARGET, Array.from({ length: 100 }, (_, i) => `X-${i}: ${i}\r\n`).join('')),
  ],
  ['prototype names as parameters', getAndClose(`${TARGET}&__proto__=x&constructor=y&toString=z`)],
]

await t.test('raw requests', async (t) => {
  const { proxy, upstream } = await startService(t, { env: { ACCESS_LOG: 'true' } })
  const { port } = proxy.addresses.public
  const send = async (bytes: string) => finalResponse(await sendBytes(port, Buffer.from(bytes, 'latin1')))
  const stillServes = async () => (await send(getAndClose(TARGET))).status === 200

  await t.test('an invalid request gets the documented error response, which repeats nothing', async (t) => {
    const problems = await problemsByCase(REJECTED, async ([name, bytes, ...expected]) => {
      const [status = 400, code = 'InvalidParameter', format = 'json'] = expected
      const response = await send(bytes)
      const { raw, headers, text } = response
      const found = errorResponseProblems(response, { status, code, format })
      if (raw.includes(CANARY)) found.push('the request is repeated')
      if (headers['date']?.endsWith('GMT') !== true) found.push('no Date')
      if (headers['content-length'] !== String(text.length)) found.push('another Content-Length')
      return [name, found]
    })
    t.strictSame(problems, {})
    t.equal(upstream.calls.length, 0, 'no upstream call is made')
    t.ok(await stillServes(), 'other requests are served')
  })

  await t.test('an unusual but valid request is served from the cache and repeats nothing', async (t) => {
    const problems = await problemsByCase(VALID, async ([name, bytes]) => {
      const { raw, status, headers, text } = await send(bytes)
      const found = commonHeaderProblems(headers)
      if (status !== 200) found.push(`status ${status}`)
      if (text !== expectedJson(referenceStation('a'))) found.push('another body')
      if (raw.includes(CANARY)) found.push('the request is repeated')
      return [name, found]
    })
    t.strictSame(problems, {})
    t.equal(upstream.calls.length, 1)
  })

  await t.test('the call goes to the configured upstream, whatever Host and target are', async (t) => {
    t.notMatch(upstream.calls[0]?.rawHeaders.join(), /evil|proxy\.example/i)
  })

  await t.test('a preflight with an asterisk as its target is answered', async (t) => {
    const response = await send(`OPTIONS * HTTP/1.1\r\n${HOST}${CLOSE}\r\n`)
    t.equal(response.status, 204)
    t.strictSame(commonHeaderProblems(response.headers), [])
  })

  await t.test('a client that disconnects within a request does not affect other clients', async (t) => {
    const whole = getAndClose(TARGET)
    for (let length = 1; length < whole.length; length += 7) {
      const socket = connect(port, '127.0.0.1')
      await new Promise((resolve) => socket.end(whole.slice(0, length), 'latin1', () => resolve(null)))
      socket.destroy()
    }
    const tunnel = `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}\r\n`
    for (const bytes of [getAndClose(TARGET), getAndClose('/nothing'), CANARY, tunnel]) {
      for (let i = 0; i < 5; i++) {
        const socket = connect(port, '127.0.0.1').on('error', () => {})
        socket.write(`${bytes}\r\n\r\n`, () => setImmediate(() => socket.resetAndDestroy()))
        await new Promise((resolve) => socket.once('close', resolve))
      }
    }
    t.ok(await stillServes())
  })

  await t.test('the body of a HEAD is neither read nor decompressed, whatever its coding is', async (t) => {
    const codings = ['gzip', 'deflate', 'br', 'zstd', 'unknown', 'identity']
    const cases = ['/healthz', '/openapi.yaml', '/docs'].flatMap((path) => {
      const head = `HEAD ${path} HTTP/1.1\r\n${HOST}Content-Encoding: `
      return codings.flatMap((coding) => [
        [`${path} ${coding}, chunks`, `${head}${coding}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n`],
        [`${path} ${coding}, length`, `${head}${coding}\r\nContent-Length: 9\r\n\r\n[]`],
      ])
    }) as [string, string][]
    const problems = await problemsByCase(cases, async ([name, bytes]) => {
      const { status, headers } = await send(bytes)
      return [name, status === 200 && headers['connection'] === 'close' ? [] : [`status ${status}`]]
    })
    t.strictSame(problems, {})
    t.ok(await stillServes())
  })

  await t.test('the log repeats nothing of an invalid request', async (t) => {
    t.ok(proxy.rawLogs.length > 0)
    t.notMatch(proxy.rawLogs.join(''), CANARY)
  })
})

/** Their clients wait. */
const RUNS: Record<string, number> = { 'connections that break': 20 }

await t.test('what was not returned is above rest, and much more than at the start', (t) => {
  const atStart = new Map([['process_open_fds', 30]])
  const above = [
    [
      ['evproxy_waiting_bytes', 0],
      ['process_open_fds', 50],
    ],
    [
      ['evproxy_waiting_bytes', 1],
      ['process_open_fds', 51],
    ],
  ].map((levels) => aboveRest(new Map(levels as [string, number][]), atStart))
  t.strictSame(above, [[], ['evproxy_waiting_bytes 1', 'process_open_fds 51']])
  t.end()
})

await t.test('random input with a fixed seed keeps every promise (`npm run fuzz` runs more)', async (t) => {
  const target = await startTarget()
  t.teardown(() => target.stop())
  for (const name of Object.keys(FUZZERS)) {
    await t.test(`random ${name} keep every promise`, async (t) => {
      await t.resolves(fuzz(target, name, { seed: 42, numRuns: RUNS[name] ?? 60 }))
    })
  }
  await t.test('afterwards every service is at rest', async (t) => {
    await t.resolves(Promise.all(target.services.map((service) => ensureAtRest(service, null))))
    await t.resolves(ensureNoneInFlight(target))
  })
})
