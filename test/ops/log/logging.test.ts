import { readFileSync } from 'node:fs'
import t from 'tap'
import { traceIdOf } from '../../../src/http/request-context.ts'
import { sendBytes } from '../../support/raw-http.ts'
import { answerStatus } from '../../support/scripted-upstream.ts'
import type { Service } from '../../support/service.ts'
import { startService } from '../../support/service.ts'
import { until } from '../../support/until.ts'

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** A log call whose last argument is a literal. */
const LOG_CALL = /\blog\.(?:trace|debug|info|warn|error|fatal)\((?:[^()']*?,\s*)?'([^']+)'/g
const ANY_LOG_CALL = /\blog\.(?:trace|debug|info|warn|error|fatal)\(/g
const CATALOGUE_ROW = /^\| `([^`]+)` \| (?:fatal|error|warn|info|debug|trace)/gm

const sources = ['src/ops/log/event-log.ts', 'src/ops/log/upstream-log.ts', 'src/main.ts']
  .map(read)
  .join('\n')
const inCode = [...sources.matchAll(LOG_CALL)].map(([, message = '']) => message)
const withoutLogger = [...read('src/main.ts').matchAll(/\bmsg: '([^']+)'/g)].map(
  ([, message = '']) => message,
)
const inDocument = [...read('docs/logging.md').matchAll(CATALOGUE_ROW)].map(([, message = '']) => message)

await t.test('every log call in the source has a literal message', async (t) => {
  t.equal(inCode.length, [...sources.matchAll(ANY_LOG_CALL)].length)
})

await t.test('docs/logging.md lists every log message once, and no other', async (t) => {
  t.strictSame(inDocument.toSorted(), [...new Set([...inCode, ...withoutLogger])].toSorted())
})

const TRACE = '0af7651916cd43dd8448eb211c80319c'

const TRACEPARENTS: readonly (readonly [header: unknown, traceId: string | null, why: string])[] = [
  [`00-${TRACE}-b7ad6b7169203331-01`, TRACE, 'the example of the specification'],
  [`00-${TRACE}-b7ad6b7169203331-00`, TRACE, 'not sampled'],
  [`cc-${TRACE}-b7ad6b7169203331-01`, TRACE, 'a later version'],
  [`cc-${TRACE}-b7ad6b7169203331-01-what-the-future-brings`, TRACE, 'a later version with more fields'],
  [`00-${TRACE}-b7ad6b7169203331-01-more`, null, 'version 00 with more fields'],
  [`cc-${TRACE}-b7ad6b7169203331-01.more`, null, 'more without a dash'],
  [`ff-${TRACE}-b7ad6b7169203331-01`, null, 'the forbidden version'],
  [`00-${'0'.repeat(32)}-b7ad6b7169203331-01`, null, 'a trace-id of zeros'],
  [`00-${TRACE}-${'0'.repeat(16)}-01`, null, 'a parent-id of zeros'],
  [`00-${TRACE.toUpperCase()}-b7ad6b7169203331-01`, null, 'upper case'],
  [`00-${TRACE}-b7ad6b7169203331`, null, 'no flags'],
  [`00-${TRACE}0-b7ad6b7169203331-01`, null, 'too long'],
  [`00-${TRACE}-b7ad6b7169203331-01, 00-${TRACE}-b7ad6b7169203331-01`, null, 'two values'],
  ['', null, 'empty'],
  [undefined, null, 'absent'],
  [['a', 'b'], null, 'a list'],
]

await t.test('the trace id is read from a valid traceparent header alone', async (t) => {
  const actual = TRACEPARENTS.map(([header, , why]) => [why, traceIdOf(header as string | undefined)])
  t.strictSame(
    actual,
    TRACEPARENTS.map(([, traceId, why]) => [why, traceId]),
  )
})

/** The log lines with this message. */
function lines({ proxy }: Service, message: string): Record<string, unknown>[] {
  return proxy.logs.filter(({ msg }) => msg === message)
}

await t.test('log lines of requests', async (t) => {
  const traceparent = `00-${TRACE}-b7ad6b7169203331-01`
  const service = await startService(t, {
    script: ({ id }, response) => answerStatus(id === 'bad' ? 500 : 404)({} as never, response, {} as never),
    env: { ACCESS_LOG: 'true' },
  })
  const headers = { traceparent, 'tracking-id': 'find-me' }
  await service.get('chargingAvailability=bad', { headers })
  await service.get('chargingAvailability=bad&minPowerKW=x', { headers })
  await service.get('chargingAvailability=bad&key=k', { headers: { traceparent: 'nonsense' } })
  await service.request('/nothing?key=k', { headers })

  await t.test('the line of a failed request has its Tracking-ID, trace and station', async (t) => {
    const [failed] = lines(service, 'request failed')
    t.match(failed, {
      trackingId: 'find-me',
      trace_id: TRACE,
      station: 'bad',
      code: 'UpstreamFailed',
      status: 502,
    })
    t.equal(failed?.['reason'], 'upstream answered 500')
  })

  await t.test('the line of an invalid request has the broken rule and no station', async (t) => {
    const [line] = lines(service, 'client error')
    t.match(line, { trace_id: TRACE, code: 'InvalidParameter', reason: /'minPowerKW' must be/ })
    t.notOk(line !== undefined && 'station' in line)
  })

  await t.test('the access log has the trace and the path without the query', async (t) => {
    const answered = lines(service, 'request answered')
    t.equal(answered.length, 4)
    t.strictSame(
      answered.map(({ trace_id: traceId }) => traceId),
      [TRACE, TRACE, undefined, TRACE],
    )
    t.strictSame(
      answered.filter(({ path }) => String(path).includes('?')),
      [],
    )
  })

  await t.test('the trace is not forwarded to upstream', async (t) => {
    t.ok(service.upstream.calls.every(({ headers }) => headers['traceparent'] === undefined))
  })
})

await t.test('changes of state in the log', async (t) => {
  await t.test('an outage is logged once when it begins and once when it ends', async (t) => {
    const service = await startService(t, { script: answerStatus(500) })
    for (let i = 0; i < 30; i++) await service.get(`chargingAvailability=a${i}`)
    t.equal(lines(service, 'circuit breaker opened').length, 1)
    // The probe after a second fails as well.
    await until('a probe has failed', async () => {
      await service.get(`chargingAvailability=${performance.now()}`)
      return lines(service, 'circuit breaker changed state').length >= 2
    })
    t.equal(lines(service, 'circuit breaker opened').length, 1)
    service.upstream.script = answerStatus(404)
    await until('upstream is back', async () => {
      await service.get(`chargingAvailability=${performance.now()}`)
      return lines(service, 'circuit breaker closed').length > 0
    })
    t.equal(lines(service, 'circuit breaker closed').length, 1)
  })

  await t.test('a rejection by upstream is logged once, with its diagnosis', async (t) => {
    const service = await startService(t, { script: answerStatus(403) })
    for (let i = 0; i < 10; i++) await service.get(`chargingAvailability=a${i}`)
    const [rejection, ...more] = lines(service, 'upstream rejected the API key or throttled it')
    t.match(rejection, { status: 403, diagnosis: /TOMTOM_API_KEY/ })
    t.equal(more.length, 0)
  })

  await t.test('a threshold of the quota is logged once', async (t) => {
    const service = await startService(t, { env: { UPSTREAM_QUOTA: '1/day' } })
    for (let i = 0; i < 30; i++) await service.get(`chargingAvailability=a${i}`)
    t.strictSame(
      lines(service, 'quota threshold reached').map(({ percent }) => percent),
      [100],
    )
  })
})

await t.test('the address of a client in log lines', async (t) => {
  const addresses = async (env: Record<string, string>) => {
    const service = await startService(t, {
      env: { ACCESS_LOG: 'true', TRUSTED_PROXIES: '127.0.0.1', ...env },
    })
    const headers = { 'x-forwarded-for': '203.0.113.77', 'user-agent': `agent ${'x'.repeat(500)}` }
    await service.get('chargingAvailability=a&minPowerKW=x', { headers })
    await sendBytes(service.proxy.addresses.public.port, 'GET / HTTP/9\r\n\r\n')
    await until('both are logged', () => lines(service, 'client error').length === 2)
    const [invalid = {}, malformed = {}] = lines(service, 'client error')
    t.equal(String(invalid['user_agent.original']).length, 200, 'the User-Agent of a client error is cut')
    return [invalid, malformed, lines(service, 'request answered')[0]].map((line) => line?.['client.address'])
  }

  await t.test('no line has the address by default', async (t) => {
    t.strictSame(await addresses({}), [undefined, undefined, undefined])
  })

  await t.test('the lines have the network with truncated, and the address with full', async (t) => {
    t.strictSame(await addresses({ LOG_CLIENT_ADDRESS: 'truncated' }), [
      '203.0.113.0/24',
      '127.0.0.0/24',
      '203.0.113.0/24',
    ])
    t.strictSame(await addresses({ LOG_CLIENT_ADDRESS: 'full' }), [
      '203.0.113.77',
      '127.0.0.1',
      '203.0.113.77',
    ])
  })
})
