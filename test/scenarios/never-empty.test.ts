/*
 * A failure is never an empty list: a client could not tell it from a station without connectors.
 */
import t from 'tap'
import { renderError } from '../../src/http/error-body.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { ServiceError, STATUS_OF } from '../../src/errors.ts'
import type { Fault } from '../../src/simulator/fault-document.ts'
import { GATEWAY_ANSWERS } from '../../src/simulator/gateway.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { startProxy } from '../support/proxy.ts'

const FORMATS = ['json', 'xml'] as const

/** Every fault of the simulator that leaves upstream without an answer. */
const FAULTS: Fault[] = [
  ...Object.keys(GATEWAY_ANSWERS).map((body): Fault => ({ outcome: 'status', body: body as 'Forbidden' })),
  ...[400, 404, 405, 410, 418, 501, 502, 504, 599].map((status): Fault => ({ outcome: 'status', status })),
  { outcome: 'hang' },
  { outcome: 'reset' },
  { outcome: 'truncate' },
  { outcome: 'drip', everyMs: 50 },
  { outcome: 'html' },
  { outcome: 'wrong-id' },
  { outcome: 'wrong-shape' },
  { outcome: 'null' },
  { outcome: 'redirect' },
  { outcome: 'gzip-bomb' },
]

/** The statuses below 400, and the bodies that could be taken for a station. */
const mistakable = (responses: readonly (readonly [what: string, status: number, body: string])[]) =>
  responses.filter(([, status, body]) => status < 400 || body === '' || body.includes('connectors'))

await t.test('no failure of upstream is an empty list, in no format', async (t) => {
  const simulator = await startSimulator()
  const responses: [string, number, string][] = []
  for (const fault of FAULTS) {
    simulator.setFaults(fault)
    const proxy = await startProxy(simulator.url, { UPSTREAM_TIMEOUT: '300ms', LOG_LEVEL: 'silent' })
    // The second request of a format gets the back-off, the negative entry, the cool-down or the open circuit.
    for (const ext of [...FORMATS, ...FORMATS]) {
      const response = await proxy.get(`chargingAvailability=${ext}`, { ext })
      responses.push([`${JSON.stringify(fault)} ${ext}`, response.status, await response.text()])
    }
    await proxy.stop()
  }
  await simulator.close()
  t.strictSame(mistakable(responses), [])
  t.equal(responses.length, FAULTS.length * 4)
})

await t.test('no limit of the proxy is an empty list, in no format', async (t) => {
  const simulator = await startSimulator()
  const responses: [string, number, string][] = []
  for (const env of [
    { UPSTREAM_QUOTA: '1/month' },
    { UPSTREAM_MAX_QPS: '0.001', UPSTREAM_QUEUE_TIMEOUT: '0' },
  ]) {
    const proxy = await startProxy(simulator.url, { LOG_LEVEL: 'silent', ...env })
    for (let used = 0; used < 2; used++) await (await proxy.get(`chargingAvailability=used-${used}`)).text()
    for (const ext of FORMATS) {
      const response = await proxy.get(`chargingAvailability=${ext}`, { ext })
      responses.push([`${JSON.stringify(env)} ${ext}`, response.status, await response.text()])
    }
    await proxy.stop()
  }
  await simulator.close()
  const gone = await startProxy(simulator.url, { LOG_LEVEL: 'silent' })
  for (const ext of FORMATS) {
    const response = await gone.get(`chargingAvailability=${ext}`, { ext })
    responses.push([`connection refused ${ext}`, response.status, await response.text()])
  }
  await gone.stop()
  t.strictSame(mistakable(responses), [])
})

await t.test('no error code has a body that could be taken for a station', async (t) => {
  const bodies = (Object.keys(STATUS_OF) as ErrorCode[]).flatMap((code) =>
    FORMATS.map((format) => [code, STATUS_OF[code], renderError(new ServiceError(code), format)] as const),
  )
  t.strictSame(mistakable(bodies), [])
})

await t.test('an upstream that alternates never makes a station vanish, in no format', async (t) => {
  let calls = 0
  const simulator = await startSimulator({
    stations: (id) => ({
      connectors:
        ++calls % 2 === 0
          ? []
          : [{ type: 'Tesla', total: 0, availability: { current: {}, perPowerLevel: [] } }],
      chargingAvailability: id,
    }),
  })
  const proxy = await startProxy(simulator.url, {
    CACHE_TTL: '20ms',
    CACHE_STALE_WHILE_REVALIDATE: '0',
    LOG_LEVEL: 'silent',
  })
  t.teardown(async () => {
    await proxy.stop()
    await simulator.close()
  })
  const seen: { isEmpty: boolean; isMarked: boolean; age: number }[] = []
  for (let i = 0; i < 60; i++) {
    const response = await proxy.get('chargingAvailability=a', { ext: FORMATS[i % 2] as string })
    const body = await response.text()
    const isMarked = /; hit; ttl=-\d+; detail=empty-unconfirmed$/.test(
      response.headers.get('cache-status') ?? '',
    )
    seen.push({ isEmpty: !body.includes('Tesla'), isMarked, age: Number(response.headers.get('age')) })
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  t.equal(seen.filter(({ isEmpty }) => isEmpty).length, 0)
  t.ok(seen.filter(({ isMarked }) => isMarked).length >= 20, 'doubted answers are marked')
  t.ok((await proxy.metric('evproxy_upstream_unconfirmed_empty_total')) >= 20)
})
