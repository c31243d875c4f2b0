import { gzipSync } from 'node:zlib'
import t from 'tap'
import { errorResponseProblems } from '../support/error-response.ts'
import { fullText } from '../support/request.ts'
import type { Script } from '../support/scripted-upstream.ts'
import { answerStation, answerStatus } from '../support/scripted-upstream.ts'
import { hang, perCall, sendBody, sendRaw } from '../support/scripts.ts'
import { startService } from '../support/service.ts'
import { referenceStation } from '../support/stations.ts'

const REFERENCE = JSON.stringify(referenceStation('a'))
const HTML = '<html>secret-of-upstream</html>'
const breakConnection: Script = (_call, response) => void response.destroy()
const breakBody = sendRaw('HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"')

const INVALID_PARAMETER = { status: 400, code: 'InvalidParameter' }
const NOT_FOUND = { status: 404, code: 'NotFound' }
const TOO_MANY_REQUESTS = { status: 429, code: 'TooManyRequests' }
const REFUSED = { status: 502, code: 'UpstreamRefused' }
const FAILED = { status: 502, code: 'UpstreamFailed' }
const TIMEOUT = { status: 504, code: 'UpstreamTimeout' }

const CASES: [upstream: string, script: Script, expected: { status: number; code: string }][] = [
  ['400', answerStatus(400, HTML), INVALID_PARAMETER],
  ['404', answerStatus(404, HTML), NOT_FOUND],
  ['401', answerStatus(401, HTML), REFUSED],
  ['403', answerStatus(403, '{"detailedError":{"code":"secret-of-upstream"}}'), REFUSED],
  ['a 403 of the older gateway', answerStatus(403, '<h1>Developer Over Qps</h1>'), REFUSED],
  ['429', answerStatus(429, HTML), TOO_MANY_REQUESTS],
  ['429 with Retry-After: 0', answerStatus(429, '', { 'retry-after': '0' }), TOO_MANY_REQUESTS],
  [
    '429 with a date in the past',
    answerStatus(429, '', { 'retry-after': 'Mon, 01 Jan 2001 00:00:00 GMT' }),
    TOO_MANY_REQUESTS,
  ],
  ['500', answerStatus(500, HTML), FAILED],
  ['502', answerStatus(502, HTML), FAILED],
  ['503', answerStatus(503, 'no healthy upstream'), FAILED],
  ['504', answerStatus(504, HTML), FAILED],
  ['596', answerStatus(596, '<h1>596 Service Not Found</h1>'), FAILED],
  ['a redirect', answerStatus(302, '', { location: '/elsewhere' }), FAILED],
  ['204', answerStatus(204), FAILED],
  ['206', answerStatus(206, REFERENCE), FAILED],
  ['410', answerStatus(410, HTML), FAILED],
  ['an empty body', sendBody(''), FAILED],
  ['HTML with 200', sendBody(HTML, { 'content-type': 'text/html' }), FAILED],
  ['a truncated answer', sendBody(REFERENCE.slice(0, 100)), FAILED],
  ['another id', sendBody(JSON.stringify(referenceStation('b'))), FAILED],
  ['an array', sendBody('[]'), FAILED],
  ['null', sendBody('null'), FAILED],
  ['no connectors', sendBody('{"chargingAvailability":"a"}'), FAILED],
  ['connectors of null', sendBody('{"chargingAvailability":"a","connectors":[null]}'), FAILED],
  [
    'a connector without a type',
    sendBody('{"chargingAvailability":"a","connectors":[{"availability":{}}]}'),
    FAILED,
  ],
  [
    'an error with 200',
    sendBody('{"detailedError":{"code":"Forbidden","message":"secret-of-upstream"}}'),
    FAILED,
  ],
  ['a coding that was not requested', sendBody('x', { 'content-encoding': 'br' }), FAILED],
  ['invalid gzip', sendBody('x', { 'content-encoding': 'gzip' }), FAILED],
  ['a gzip bomb', sendBody(gzipSync(Buffer.alloc(10_000_000)), { 'content-encoding': 'gzip' }), FAILED],
  ['a body of 2 MB', sendBody(JSON.stringify({ x: 'x'.repeat(2_000_000) })), FAILED],
  ['a broken connection', breakConnection, FAILED],
  ['a connection broken within the body', breakBody, FAILED],
  ['bytes that are not HTTP', sendRaw('SSH-2.0-secret-of-upstream\r\n\r\n'), FAILED],
  ['silence', hang, TIMEOUT],
  ['headers and then silence', (_call, response) => void response.writeHead(200).write('{'), TIMEOUT],
]

await t.test('an upstream response that is not an answer', async (t) => {
  for (const [upstreamSends, script, expected] of CASES) {
    await t.test(`${upstreamSends} from upstream is ${expected.status} ${expected.code}`, async (t) => {
      const { get, upstream } = await startService(t, { script, env: { UPSTREAM_TIMEOUT: '250ms' } })
      const json = await get('chargingAvailability=a')
      const xml = await get('chargingAvailability=a', { ext: 'xml' })
      t.strictSame(errorResponseProblems(json, { ...expected, format: 'json' }), [])
      t.strictSame(errorResponseProblems(xml, { ...expected, format: 'xml' }), [])
      t.notMatch(fullText(json) + fullText(xml), /secret-of-upstream|elsewhere|Developer/)
      t.ok(upstream.calls.length <= 2, 'calls are not repeated again and again')
      const paths = new Set(upstream.calls.map(({ url }) => url.pathname))
      t.strictSame([...paths], ['/search/2/chargingAvailability.json'], 'no other path is called')
    })
  }

  await t.test('a connection that upstream does not accept is 502 UpstreamFailed', async (t) => {
    const { get, upstream } = await startService(t)
    await upstream.stop()
    const json = await get('chargingAvailability=a')
    const xml = await get('chargingAvailability=a', { ext: 'xml' })
    t.strictSame(errorResponseProblems(json, FAILED), [])
    t.strictSame(errorResponseProblems(xml, { ...FAILED, format: 'xml' }), [])
  })

  await t.test("upstream's Retry-After bounds that of the 429", async (t) => {
    const { get } = await startService(t, { script: answerStatus(429, '', { 'retry-after': '7' }) })
    const retryAfter = (await get('chargingAvailability=a')).headers['retry-after']
    t.ok(Number(retryAfter) >= 1 && Number(retryAfter) <= 7, String(retryAfter))
  })
})

await t.test('one failed attempt is followed by a second one', async (t) => {
  const cases: [upstream: string, script: Script, attempts: number][] = [
    ['a broken connection', breakConnection, 2],
    ['a connection broken within the body', breakBody, 2],
    ['502', answerStatus(502), 2],
    ['503', answerStatus(503), 2],
    ['504', answerStatus(504), 2],
    ['500', answerStatus(500), 1],
    ['404', answerStatus(404), 1],
    ['429', answerStatus(429), 1],
    ['an invalid answer', sendBody('{}'), 1],
  ]
  for (const [upstreamSends, script, attempts] of cases) {
    const title = attempts === 2 ? 'is retried once' : 'is not retried'
    await t.test(`${upstreamSends} ${title}, and each attempt is counted`, async (t) => {
      const { get, upstream, proxy } = await startService(t, {
        script: perCall(({ number }) => (number === 1 ? script : answerStation)),
      })
      const { status } = await get('chargingAvailability=a')
      t.equal(status === 200, attempts === 2, String(status))
      t.equal(upstream.calls.length, attempts)
      t.equal(await proxy.metric('evproxy_upstream_request_duration_seconds_count'), attempts)
    })
  }
})
