import { rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Test } from 'tap'
import t from 'tap'
import { otelPackages } from '../support/otel-packages.ts'
import { build, Process } from '../support/process.ts'
import { TEST_KEY } from '../support/proxy.ts'
import { pathFor, request } from '../support/request.ts'
import { answerStation, answerStatus, ScriptedUpstream } from '../support/scripted-upstream.ts'
import { perCall } from '../support/scripts.ts'
import { until } from '../support/until.ts'

/* The service with OpenTelemetry's real packages, and everything that a collector receives from it. */

const CLIENT_KEY = 'client-key-0123456789'
const TRACE = '0af7651916cd43dd8448eb211c80319c'

const packages = await otelPackages()
const skip =
  packages === null && 'the packages of OpenTelemetry are not installed: TEST_OTEL=install installs them'
const dir = await build()
t.teardown(() => {
  rmSync(dir, { recursive: true, force: true })
})

/** A local OTLP receiver: the bodies by path. */
async function startCollector(t: Test) {
  const received: { readonly path: string; readonly body: string }[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      received.push({ path: request.url ?? '', body: Buffer.concat(chunks).toString('latin1') })
      response.setHeader('content-type', 'application/json').end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const bodies = (path: string) => received.filter((one) => one.path === path).map(({ body }) => body)
  return { port: (server.address() as AddressInfo).port, received, bodies }
}

const script = perCall(({ id }) => (id.startsWith('broken') ? answerStatus(500) : answerStation))

/** Starts the service with these preloads, sends it requests of all kinds, and stops it. */
async function run(t: Test, preload: string, exported?: RegExp) {
  const collector = await startCollector(t)
  const upstream = await ScriptedUpstream.start(script)
  t.teardown(() => upstream.stop())
  const service = new Process(dir, {
    TOMTOM_API_KEY: TEST_KEY,
    TOMTOM_BASE_URL: upstream.origin,
    CLIENT_KEYS: `web=${CLIENT_KEY}`,
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
    ACCESS_LOG: 'true',
    NODE_OPTIONS: `--import=${pathToFileURL(preload).href}`,
    NODE_PATH: packages ?? '',
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_NODE_RESOURCE_DETECTORS: 'env',
    ...(exported && { OTEL_BSP_SCHEDULE_DELAY: '50' }),
  })
  t.teardown(() => service.child.kill('SIGKILL'))
  const { url, adminUrl } = await service.urls()
  const headers = { traceparent: `00-${TRACE}-b7ad6b7169203331-01`, baggage: 'secret=1', tracestate: 'a=b' }
  for (const query of [
    'chargingAvailability=a',
    'chargingAvailability=a',
    'chargingAvailability=broken',
    '',
  ]) {
    await request(url, pathFor(`${query}&key=${CLIENT_KEY}`), { headers })
  }
  await request(url, pathFor('chargingAvailability=a&key=wrong-key-0123456789'), { headers })
  for (const probe of ['/livez', '/readyz', '/metrics']) await request(adminUrl, `${probe}?key=${CLIENT_KEY}`)
  await request(url, '/healthz')
  const all = () => collector.received.map(({ body }) => body).join('\n')
  if (exported) await until('it is exported', () => exported.test(all()))
  service.child.kill('SIGTERM')
  await service.exited
  return { service, upstream, collector }
}

await t.test('otel.js traces the service and exports no key', { skip, timeout: 120_000 }, async (t) => {
  const { service, upstream, collector } = await run(t, join(dir, 'dist/otel.js'))
  await until('spans have arrived', () => collector.bodies('/v1/traces').length > 0)
  const traces = collector.bodies('/v1/traces').join('\n')
  const all = collector.received.map(({ body }) => body).join('\n')

  await t.test('spans of requests and of calls to upstream arrive', async (t) => {
    t.match(traces, '/search/2/chargingAvailability.json')
    t.match(traces, '"kind":2', 'of the server')
    t.match(traces, '"kind":3', 'of the client')
    t.match(traces, `"traceId":"${TRACE}"`, 'in the trace of the caller')
    t.equal(await service.exited, 0)
  })

  await t.test('logs and metrics arrive as well', async (t) => {
    t.match(collector.bodies('/v1/logs').join('\n'), 'request answered')
    t.ok(collector.bodies('/v1/metrics').length > 0)
  })

  await t.test('nothing that arrives contains a key or a query', async (t) => {
    const found = [
      TEST_KEY,
      CLIENT_KEY,
      'wrong-key',
      'url.query',
      'url.full',
      'http.target',
      'http.url',
      'key=',
    ]
    t.strictSame(
      found.filter((text) => all.includes(text)),
      [],
    )
    t.notMatch(service.stdout + service.stderr, CLIENT_KEY)
  })

  await t.test('probes have no spans', async (t) => {
    const probes = ['/livez', '/readyz', '/metrics', '/healthz']
    t.strictSame(
      probes.filter((path) => traces.includes(path)),
      [],
    )
  })

  await t.test('upstream gets no header of a trace', async (t) => {
    const names = upstream.calls.flatMap(({ headers }) => Object.keys(headers))
    t.ok(names.length > 0)
    t.strictSame(
      names.filter((name) => ['traceparent', 'tracestate', 'baggage', 'b3'].includes(name)),
      [],
    )
  })

  await t.test('log lines of requests have trace_id and span_id, and there is no warning', async (t) => {
    const lines = service.lines.filter(({ msg }) => msg === 'request failed')
    t.match(lines, [{ trace_id: TRACE, span_id: /^[0-9a-f]{16}$/ }])
    t.strictSame(
      service.lines.filter(({ level }) => level === 'warn'),
      [],
    )
  })
})

await t.test(
  'OpenTelemetry without otel.js is reported at the start',
  { skip, timeout: 120_000 },
  async (t) => {
    const register = join(packages ?? '', '@opentelemetry/auto-instrumentations-node/build/src/register.js')
    // The receiver finds a key.
    const { service } = await run(t, register, new RegExp(`${CLIENT_KEY}|${TEST_KEY}`))
    t.ok(service.lines.some(({ msg }) => msg === 'OpenTelemetry is loaded without otel.js and exports keys'))
  },
)

await t.test('otel.js names the packages that it does not find', async (t) => {
  const service = new Process(dir, {
    NODE_OPTIONS: `--import=${pathToFileURL(join(dir, 'dist/otel.js')).href}`,
  })
  t.equal(await service.exited, 1)
  t.match(
    service.stderr,
    /otel\.js needs @opentelemetry\/auto-instrumentations-node and @opentelemetry\/sdk-node/,
  )
})
