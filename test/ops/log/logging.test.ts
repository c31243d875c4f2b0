import { readFileSync } from 'node:fs'
import t from 'tap'
import { traceIdOf } from '../../../src/http/request-context.ts'
import { answerStatus } from '../../support/scripted-upstream.ts'
import type { Service } from '../../support/service.ts'
import { startService } from '../../support/service.ts'
import { until } from '../../support/until.ts'

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** The text that is a log call's last argument. */
const LOG_CALL = /\blog\.(?:trace|debug|info|warn|error|fatal)\((?:[^()']*?,\s*)?'([^']+)'/g
const ANY_LOG_CALL = /\blog\.(?:trace|debug|info|warn|error|fatal)\(/g
const CATALOGUE_ROW = /^\| `([^`]+)` \| (?:fatal|error|warn|info|debug|trace)/gm

await t.test('the catalogue of messages', async (t) => {
  const sources = ['src/ops/log/event-log.ts', 'src/main.ts'].map(read).join('\n')
  const inCode = [...sources.matchAll(LOG_CALL)].map(([, message]) => message)
  const inCatalogue = [...read('docs/logging.md').matchAll(CATALOGUE_ROW)].map(([, message]) => message)

  t.equal(inCode.length, [...sources.matchAll(ANY_LOG_CALL)].length, 'every log call has a plain message')
  t.strictSame(new Set(inCatalogue), new Set(inCode), 'has each message of the code, and no other')
  t.equal(inCatalogue.length, new Set(inCatalogue).size, 'each once')
})

const TRACE = '0af7651916cd43dd8448eb211c80319c'

await t.test('traceparent', async (t) => {
  for (const [header, traceId, why] of [
    [`00-${TRACE}-b7ad6b7169203331-01`, TRACE, "the specification's example"],
    [`00-${TRACE}-b7ad6b7169203331-00`, TRACE, 'not sampled'],
    [`cc-${TRACE}-b7ad6b7169203331-01`, TRACE, 'a later version'],
    [`cc-${TRACE}-b7ad6b7169203331-01-what-the-future-brings`, TRACE, 'a later version that says more'],
    [`00-${TRACE}-b7ad6b7169203331-01-more`, null, 'version 00 says no more'],
    [`cc-${TRACE}-b7ad6b7169203331-01.more`, null, 'more without a dash'],
    [`ff-${TRACE}-b7ad6b7169203331-01`, null, 'a version that is forbidden'],
    [`00-${'0'.repeat(32)}-b7ad6b7169203331-01`, null, 'a trace-id of zeros'],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, null, 'a parent-id of zeros'],
    [`00-${TRACE.toUpperCase()}-b7ad6b7169203331-01`, null, 'capitals'],
    [`00-${TRACE}-b7ad6b7169203331`, null, 'no flags'],
    [`00-${TRACE}0-b7ad6b7169203331-01`, null, 'too long'],
    [`00-${TRACE}-b7ad6b7169203331-01, 00-${TRACE}-b7ad6b7169203331-01`, null, 'given twice'],
    ['', null, 'empty'],
    [undefined, null, 'absent'],
    [['a', 'b'], null, 'a list'],
  ] as const) {
    t.equal(traceIdOf(header as string | string[] | undefined), traceId, why)
  }
})

/** Lines with this message. */
function lines({ proxy }: Service, message: string): Record<string, unknown>[] {
  return proxy.logs.filter(({ msg }) => msg === message)
}

await t.test('a line about a request', async (t) => {
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

  await t.test('says whose it is: Tracking-ID, trace and station', async (t) => {
    const [failed] = lines(service, 'request failed')
    t.match(failed, {
      trackingId: 'find-me',
      traceId: TRACE,
      station: 'bad',
      code: 'UpstreamFailed',
      status: 502,
    })
    t.equal(failed?.['reason'], 'upstream answered 500')
  })

  await t.test('has no station that has not passed validation, and says which rule was broken', async (t) => {
    const [refused] = lines(service, 'request refused')
    t.match(refused, { traceId: TRACE, code: 'InvalidParameter', reason: /'minPowerKW' must be/ })
    t.notOk(refused !== undefined && 'station' in refused)
  })

  await t.test('of the access log has the trace as well, and never the query', async (t) => {
    const answered = lines(service, 'request answered')
    t.equal(answered.length, 4)
    t.strictSame(
      answered.map(({ traceId }) => traceId),
      [TRACE, TRACE, undefined, TRACE],
    )
    for (const { path } of answered) t.notMatch(path, /\?/)
  })

  t.ok(
    service.upstream.calls.every(({ headers }) => headers['traceparent'] === undefined),
    'the trace is forwarded nowhere',
  )
})

await t.test('a change of state is logged once', async (t) => {
  await t.test('an outage', async (t) => {
    const service = await startService(t, { script: answerStatus(500) })
    for (let i = 0; i < 30; i++) await service.get(`chargingAvailability=a${i}`)
    t.equal(lines(service, 'the circuit to upstream is open: it fails, no calls are made for now').length, 1)
    // The probe after a second fails as well.
    await until('a probe has failed', async () => {
      await service.get(`chargingAvailability=${performance.now()}`)
      return lines(service, 'the circuit to upstream has changed').length >= 2
    })
    t.equal(lines(service, 'the circuit to upstream is open: it fails, no calls are made for now').length, 1)
    service.upstream.script = answerStatus(404)
    const closed = 'the circuit to upstream is closed: calls are made again'
    await until('upstream is back', async () => {
      await service.get(`chargingAvailability=${performance.now()}`)
      return lines(service, closed).length > 0
    })
    t.equal(lines(service, closed).length, 1)
  })

  await t.test('a refusal', async (t) => {
    const service = await startService(t, { script: answerStatus(403) })
    for (let i = 0; i < 10; i++) await service.get(`chargingAvailability=a${i}`)
    const [refusal, ...more] = lines(service, 'upstream refuses our calls')
    t.match(refusal, { status: 403, diagnosis: /TOMTOM_API_KEY/ })
    t.equal(more.length, 0)
  })

  await t.test("the quota's thresholds", async (t) => {
    const service = await startService(t, { env: { UPSTREAM_QUOTA: '20/day' } })
    for (let i = 0; i < 30; i++) await service.get(`chargingAvailability=a${i}`)
    t.strictSame(
      lines(service, 'quota spent').map(({ percent }) => percent),
      [50, 80, 95, 100],
    )
  })
})
