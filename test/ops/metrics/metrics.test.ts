import { getHeapStatistics } from 'node:v8'
import t from 'tap'
import { CALL_BYTES, WAITER_BYTES } from '../../../src/cache/single-flight.ts'
import { STATUS_OF } from '../../../src/errors.ts'
import { STATUSES, UPSTREAM_OUTCOMES } from '../../../src/events.ts'
import { Health } from '../../../src/ops/health.ts'
import { pathFor } from '../../support/request.ts'
import type { Exposition, MetricType } from '../../support/exposition.ts'
import { readExposition } from '../../support/exposition.ts'
import { sendBytes } from '../../support/raw-http.ts'
import type { Script } from '../../support/scripted-upstream.ts'
import { answerStation, answerStatus, Barrier, sendJson } from '../../support/scripted-upstream.ts'
import type { Service } from '../../support/service.ts'
import { perCall, waitFor, hang } from '../../support/scripts.ts'
import { startService } from '../../support/service.ts'
import { station } from '../../support/stations.ts'
import { until } from '../../support/until.ts'

const RESULTS = ['hit', 'stale', 'stale_error', 'coalesced', 'miss', 'error']
const OUTCOMES = [
  'ok',
  'empty',
  'bad_request',
  'not_found',
  'throttled',
  'refused',
  'server_error',
  'invalid',
  'timeout',
  'network',
]

interface MetricContract {
  readonly type: MetricType
  /** Label names with the values that exist from the start; null for open or configured sets. */
  readonly labels?: Readonly<Record<string, readonly string[] | null>>
}

/** The contract with dashboards and alerts: metrics that always exist. */
const ALWAYS: Readonly<Record<string, MetricContract>> = {
  evproxy_requests_total: { type: 'counter', labels: { format: ['json', 'xml', 'none'], status: null } },
  evproxy_request_duration_seconds: { type: 'histogram', labels: { result: RESULTS } },
  evproxy_cache_requests_total: { type: 'counter', labels: { result: RESULTS } },
  evproxy_cache_entries: { type: 'gauge' },
  evproxy_cache_bytes: { type: 'gauge' },
  evproxy_cache_evictions_total: { type: 'counter' },
  evproxy_cache_age_seconds: { type: 'histogram' },
  evproxy_waiting_bytes: { type: 'gauge' },
  evproxy_waiting_limit_bytes: { type: 'gauge' },
  evproxy_overload_total: { type: 'counter' },
  evproxy_log_lines_dropped_total: { type: 'counter' },
  evproxy_file_descriptors_exhausted_total: { type: 'counter' },
  evproxy_event_streams: { type: 'gauge', labels: { kind: ['stream', 'long_poll'] } },
  evproxy_watched_stations: { type: 'gauge' },
  evproxy_events_total: { type: 'counter', labels: { event: ['availability', 'problem'] } },
  evproxy_upstream_requests_total: { type: 'counter', labels: { outcome: OUTCOMES } },
  evproxy_upstream_unconfirmed_empty_total: { type: 'counter' },
  evproxy_upstream_request_duration_seconds: { type: 'histogram' },
  evproxy_upstream_in_flight: { type: 'gauge' },
  evproxy_upstream_queue_length: { type: 'gauge' },
  evproxy_upstream_calls_per_second_limit: { type: 'gauge' },
  evproxy_upstream_circuit_state: { type: 'gauge', labels: { state: ['closed', 'open', 'half_open'] } },
  evproxy_quota_limit: { type: 'gauge' },
  evproxy_quota_remaining: { type: 'gauge' },
  evproxy_quota_reset_timestamp_seconds: { type: 'gauge' },
  evproxy_quota_projected_remaining: { type: 'gauge' },
  evproxy_quota_rationing: { type: 'gauge' },
  evproxy_quota_unknown_ids_remaining: { type: 'gauge' },
  evproxy_cache_estimated_correct_ratio: { type: 'gauge' },
  evproxy_upstream_answers_total: { type: 'counter', labels: { change: ['first', 'same', 'different'] } },
  evproxy_upstream_held_back_total: {
    type: 'counter',
    labels: { by: ['quota', 'rate', 'circuit', 'cool_down'] },
  },
  evproxy_key_file_valid: { type: 'gauge', labels: { file: ['api_key', 'client_keys'] } },
  evproxy_cache_effective_ttl_seconds: { type: 'gauge' },
  evproxy_build_info: { type: 'gauge', labels: { version: null, node_version: null } },
}

/** Metrics that exist only with the configuration of an optional part. */
const OPTIONAL: Readonly<Record<string, MetricContract>> = {
  evproxy_shared_cache_requests_total: { type: 'counter', labels: { result: ['hit', 'miss', 'error'] } },
  evproxy_shared_cache_up: { type: 'gauge' },
  evproxy_client_requests_total: { type: 'counter', labels: { client: null } },
  evproxy_client_limited_requests_total: { type: 'counter', labels: { client: null } },
  evproxy_client_limited_total: { type: 'counter', labels: { limit: ['rate', 'in_flight', 'quota'] } },
}

const CONTRACT = { ...ALWAYS, ...OPTIONAL }

/** The values of a label, sorted. */
function labelValues({ families }: Exposition, name: string, label: string): string[] {
  const samples = families.get(name)?.samples ?? []
  return samples.map(({ labels }) => labels[label] ?? '').toSorted()
}

async function scrape({ requestAdmin }: Service): Promise<Exposition> {
  return readExposition((await requestAdmin('/metrics')).text)
}

/** What the contract and an exposition both say of a metric. */
const described = (type: MetricType, labels: Iterable<string>) => ({ type, labels: [...labels].toSorted() })

await t.test('/metrics of a service that has just started', async (t) => {
  const service = await startService(t, { env: { UPSTREAM_QUOTA: '2500/day', UPSTREAM_MAX_QPS: '7' } })
  const { headers } = await service.requestAdmin('/metrics')
  const metrics = await scrape(service)
  const own = [...metrics.families].filter(([name]) => name.startsWith('evproxy_'))

  await t.test('the exposition is valid Prometheus text', async (t) => {
    t.match(headers['content-type'], /^text\/plain; version=0\.0\.4/)
    t.same(metrics.problems, [])
  })

  await t.test('the exposition has the metrics of the contract with their types and labels', async (t) => {
    const actual = own.map(([name, { type, samples }]) => {
      const labels = samples.flatMap((sample) => Object.keys(sample.labels))
      return [name, described(type, new Set(labels.filter((label) => label !== 'le')))] as const
    })
    const expected = Object.entries(CONTRACT)
      .filter(([name]) => name in ALWAYS || metrics.families.has(name))
      .map(([name, { type, labels = {} }]) => [name, described(type, Object.keys(labels))] as const)
    t.strictSame(Object.fromEntries(actual), Object.fromEntries(expected))
  })

  await t.test('every metric has a help text that is a sentence', async (t) => {
    const texts = own.map(([, { help }]) => help ?? '')
    t.strictSame(
      texts.filter((help) => !/^[A-Z].{8,}\.$/.test(help)),
      [],
    )
  })

  await t.test('every series of a counter or histogram exists at zero', async (t) => {
    const series = Object.entries(CONTRACT)
      .filter(([name, { type }]) => type !== 'gauge' && metrics.families.has(name))
      .flatMap(([name, { type, labels = {} }]) => {
        const count = type === 'histogram' ? `${name}_count` : name
        const closed = Object.entries(labels).flatMap(([label, values]) =>
          (values ?? []).map((value) => ({ [label]: value })),
        )
        return [{}, ...closed].map((labels) => [count, labels] as const)
      })
    const counts = series.map(([name, labels]) => [name, labels, metrics.sum(name, labels)])
    t.strictSame(
      counts,
      series.map((one) => [...one, 0]),
    )
    const absent = series.filter(
      ([name, labels]) =>
        !own.some(([, { samples }]) =>
          samples.some(
            (sample) =>
              sample.name === name &&
              Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
          ),
        ),
    )
    t.strictSame(absent, [])
  })

  await t.test('the results and outcomes are those of the contract', async (t) => {
    t.same(labelValues(metrics, 'evproxy_cache_requests_total', 'result'), RESULTS.toSorted())
    t.same(labelValues(metrics, 'evproxy_upstream_requests_total', 'outcome'), OUTCOMES.toSorted())
    t.same([...UPSTREAM_OUTCOMES].toSorted(), OUTCOMES.toSorted())
  })

  await t.test(
    'the requests are counted for every format and every status of an error, 200 and 304',
    async (t) => {
      const statuses = [...new Set([200, 304, ...Object.values(STATUS_OF)])]
      t.strictSame(
        statuses.filter((status) => !(STATUSES as readonly number[]).includes(status)),
        [],
      )
      const series = statuses.flatMap((status) =>
        ['json', 'xml', 'none'].map((format) => ({ format, status: `${status}` })),
      )
      t.strictSame(
        series.filter((labels) => metrics.value('evproxy_requests_total', labels) !== 0),
        [],
      )
    },
  )

  await t.test('evproxy_build_info has the versions of the service and of Node.js', async (t) => {
    const labels = { version: '0.0.0-test', node_version: process.version }
    t.equal(metrics.value('evproxy_build_info', labels), 1)
    t.equal(metrics.families.get('evproxy_build_info')?.samples.length, 1)
  })

  await t.test(
    'the gauges have the state of the circuit breaker, the rate limit, the quota and the TTL',
    async (t) => {
      const state = (value: string) => metrics.value('evproxy_upstream_circuit_state', { state: value })
      t.same([state('closed'), state('open'), state('half_open')], [1, 0, 0])
      t.equal(metrics.value('evproxy_upstream_calls_per_second_limit'), 7)
      t.equal(metrics.value('evproxy_quota_limit'), 2_500)
      t.equal(metrics.value('evproxy_quota_remaining'), 2_500)
      const resetAt = (metrics.value('evproxy_quota_reset_timestamp_seconds') ?? 0) * 1_000
      t.equal(resetAt % 86_400_000, 0, 'at midnight UTC')
      t.ok(resetAt > Date.now() && resetAt <= Date.now() + 86_400_000, 'the next one')
      t.ok((metrics.value('evproxy_cache_effective_ttl_seconds') ?? 0) >= 30, 'the TTL, extended or not')
    },
  )

  await t.test("the exposition has Node's default metrics without a prefix", async (t) => {
    const defaults = [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_seconds',
    ]
    t.strictSame(
      defaults.filter((name) => !metrics.families.has(name)),
      [],
    )
    t.ok((metrics.value('process_resident_memory_bytes') ?? 0) > 0)
  })
})

/** A response by the first word of the id, so that mixed requests produce every outcome. */
const byId = perCall(({ id }) => {
  const [kind = ''] = id.split('-')
  if (kind === 'empty') return (_call, response) => sendJson(response, station(id))
  if (kind === 'wrong') return (_call, response) => sendJson(response, station('another'))
  if (kind === 'cut') return (_call, response) => void response.destroy()
  return /^\d+$/.test(kind) ? answerStatus(Number(kind)) : answerStation
})

await t.test('the counters of a service under load', async (t) => {
  await t.test('the counters of requests, lookups and calls agree after mixed requests', async (t) => {
    const service = await startService(t, { script: byId })
    const { get, request, upstream } = service
    const ids = ['a', 'b', 'c', 'empty-1', 'empty-2', 'wrong-1', 'cut-1', '400-1', '404-1', '500-1', '503-1']
    const lookups = Array.from({ length: 400 }, (_, i) => {
      const ext = i % 3 === 0 ? 'xml' : 'json'
      const headers: Record<string, string> = i % 5 === 0 ? { 'if-none-match': '*' } : {}
      return get(`chargingAvailability=${ids[i % ids.length]}&minPowerKW=${i % 7}`, { ext, headers })
    })
    const kinds = [
      () => get('minPowerKW=1'),
      () => get('chargingAvailability=a&minPowerKW=x', { ext: 'xml' }),
      () => get('chargingAvailability=a', { ext: 'yaml' }),
      () => get('chargingAvailability=a', { method: 'POST' }),
      () => get('chargingAvailability=a', { method: 'OPTIONS' }),
      () => request('/nothing'),
      () => request('/healthz'),
      () => request('/search/2/chargingAvailability%zz.json'),
    ]
    const others = Array.from({ length: 20 }, () => kinds.map((kind) => kind())).flat()
    const answers = await Promise.all([...lookups, ...others])
    const counted = async () => (await scrape(service)).sum('evproxy_requests_total') >= answers.length
    await until('all are counted', counted)
    const metrics = await scrape(service)

    t.same(metrics.problems, [])
    t.equal(metrics.sum('evproxy_requests_total'), answers.length, 'requests')
    t.equal(metrics.sum('evproxy_request_duration_seconds_count'), answers.length, 'durations')
    t.equal(metrics.sum('evproxy_cache_requests_total'), lookups.length, 'results add up to lookups')
    const none = metrics.sum('evproxy_request_duration_seconds_count', { result: 'none' })
    t.equal(none, others.length, 'requests without a lookup have the result none')
    const byResult = (name: string) => RESULTS.map((result) => [result, metrics.sum(name, { result })])
    t.strictSame(
      byResult('evproxy_request_duration_seconds_count'),
      byResult('evproxy_cache_requests_total'),
      'a duration for each lookup',
    )
    t.equal(metrics.sum('evproxy_upstream_requests_total'), upstream.calls.length, 'outcomes add up to calls')
    t.equal(metrics.sum('evproxy_upstream_request_duration_seconds_count'), upstream.calls.length)
    const served = RESULTS.filter((result) => result !== 'error')
    const servedCount = served.reduce(
      (sum, result) => sum + metrics.sum('evproxy_cache_requests_total', { result }),
      0,
    )
    t.equal(metrics.sum('evproxy_cache_age_seconds_count'), servedCount, 'an age for each answer served')

    const statuses = [...new Set(answers.map((answer) => answer.status))]
    t.strictSame(
      statuses.map((status) => metrics.sum('evproxy_requests_total', { status: `${status}` })),
      statuses.map((status) => answers.filter((answer) => answer.status === status).length),
    )
    t.equal(metrics.value('evproxy_cache_entries'), 5, 'cached stations')
    t.ok((metrics.value('evproxy_cache_bytes') ?? 0) > 5 * 300, 'their memory')
    t.equal(metrics.value('evproxy_upstream_in_flight'), 0)
  })

  const outcomes: [outcome: string, script: Script][] = [
    ['ok', answerStation],
    ['empty', ({ id }, response) => sendJson(response, station(id))],
    ['bad_request', answerStatus(400)],
    ['not_found', answerStatus(404)],
    ['throttled', answerStatus(429)],
    ['refused', answerStatus(403)],
    ['refused', answerStatus(401)],
    ['server_error', answerStatus(500)],
    ['server_error', answerStatus(596)],
    ['invalid', answerStatus(302, '', { location: '/' })],
    ['invalid', (_call, response) => sendJson(response, {})],
    ['timeout', hang],
    ['network', (_call, response) => void response.destroy()],
  ]
  for (const [i, [outcome, script]] of outcomes.entries()) {
    await t.test(`an attempt is counted with one outcome: ${outcome}, case ${i + 1}`, async (t) => {
      const service = await startService(t, { script, env: { UPSTREAM_TIMEOUT: '200ms' } })
      await service.get('chargingAvailability=a')
      const metrics = await scrape(service)
      const calls = service.upstream.calls.length
      t.equal(metrics.value('evproxy_upstream_requests_total', { outcome }), calls)
      t.equal(metrics.sum('evproxy_upstream_requests_total'), calls)
    })
  }

  await t.test('the gauge of calls in flight follows the calls', async (t) => {
    const barrier = new Barrier()
    const service = await startService(t, { script: waitFor(barrier) })
    const answers = ['a', 'b', 'c'].map((id) => service.get(`chargingAvailability=${id}`))
    await service.upstream.arrived(3)
    t.equal((await scrape(service)).value('evproxy_upstream_in_flight'), 3)
    barrier.open()
    await Promise.all(answers)
    t.equal((await scrape(service)).value('evproxy_upstream_in_flight'), 0)
  })

  await t.test('the gauge of what waits follows calls and their waiters', async (t) => {
    const barrier = new Barrier()
    const service = await startService(t, { script: waitFor(barrier) })
    const waiting = async () => {
      const metrics = await scrape(service)
      return ['evproxy_waiting_bytes', 'evproxy_waiting_limit_bytes'].map((name) => metrics.value(name))
    }
    const limit = Math.floor(getHeapStatistics().heap_size_limit / 8)
    t.strictSame(await waiting(), [0, limit])
    const answers = ['a', 'a', 'b'].map((id) => service.get(`chargingAvailability=${id}`))
    await service.upstream.arrived(2)
    await until('all wait', async () => (await waiting())[0] === 2 * CALL_BYTES + 3 * WAITER_BYTES)
    barrier.open()
    await Promise.all(answers)
    await until('nothing waits', async () => (await waiting())[0] === 0)
    t.equal((await scrape(service)).value('evproxy_overload_total'), 0)
  })

  await t.test('an eviction is counted', async (t) => {
    const service = await startService(t, { env: { CACHE_MAX_ENTRIES: '2' } })
    for (const id of ['a', 'b', 'c', 'd']) await service.get(`chargingAvailability=${id}`)
    const metrics = await scrape(service)
    t.equal(metrics.value('evproxy_cache_entries'), 2)
    t.equal(metrics.value('evproxy_cache_evictions_total'), 2)
  })
})

/** The name and labels of every series of the service. */
function ownSeries({ families }: Exposition): string[] {
  const samples = [...families.values()].flatMap((family) => family.samples)
  return samples
    .filter(({ name }) => name.startsWith('evproxy_'))
    .map(({ name, labels }) => name + JSON.stringify(labels))
}

await t.test('no request creates a series', async (t) => {
  const service = await startService(t, { script: byId })
  const { proxy, upstream } = service
  const { port } = proxy.addresses.public
  const before = await scrape(service)
  const kinds: ((i: number) => Promise<unknown>)[] = [
    (i) => fetch(`${proxy.url}${pathFor(`chargingAvailability=id-${i}`)}`),
    (i) =>
      fetch(`${proxy.url}${pathFor(`chargingAvailability=${i % 2 === 0 ? 'wrong' : '404'}-${i}`, 'xml')}`),
    (i) => fetch(`${proxy.url}/path-${i}/x?q=${i}`),
    (i) => fetch(`${proxy.url}${pathFor(`minPowerKW=x${i}`, `ext${i}`)}`),
    (i) =>
      fetch(`${proxy.url}${pathFor(`chargingAvailability=id-${i}`)}`, {
        method: i % 2 === 0 ? 'POST' : 'M-SEARCH',
      }),
  ]
  for (let i = 0; i < 2_000; i += 50) {
    const batch = Array.from({ length: 50 }, (_, j) => kinds[j % kinds.length]?.(i + j))
    await Promise.all(batch.map(async (answer) => ((await answer) as Response).arrayBuffer()))
  }
  for (let i = 0; i < 20; i++)
    await sendBytes(port, `${'ABCDEFGHIJ'.slice(0, (i % 10) + 1)} /${i} HTTP/9\r\n\r\n`)
  const after = await scrape(service)
  t.same(after.problems, [])
  t.ok(after.sum('evproxy_requests_total') >= 2_000)
  t.ok(upstream.calls.length > 100)
  t.same(ownSeries(after), ownSeries(before), 'the same series as at the start')
})

await t.test('the admin listener', async (t) => {
  await t.test('the admin listener is live and ready after the start', async (t) => {
    const { requestAdmin } = await startService(t)
    t.equal((await requestAdmin('/livez')).status, 200)
    t.equal((await requestAdmin('/readyz')).status, 200)
  })

  await t.test('the service stays ready during an outage of upstream', async (t) => {
    const { requestAdmin, get, upstream } = await startService(t)
    await upstream.stop()
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) await get(`chargingAvailability=${id}`)
    t.equal((await requestAdmin('/readyz')).status, 200)
    t.equal((await requestAdmin('/livez')).status, 200)
  })

  await t.test('the service is not ready before the start and while it drains', async (t) => {
    const health = new Health()
    t.equal(health.ready, false, 'before both listeners are open')
    health.markReady()
    t.equal(health.ready, true)
    health.markDraining()
    t.equal(health.ready, false, 'while draining')
    health.markReady()
    t.equal(health.ready, false, 'for good')
  })

  await t.test(
    '/readyz answers 503 while the service drains, and the public listener closes each connection',
    async (t) => {
      const { requestAdmin, get, request, proxy } = await startService(t, { env: { DRAIN_DELAY: '1500ms' } })
      const stopped = proxy.stop()
      t.equal((await requestAdmin('/readyz')).status, 503)
      t.equal((await requestAdmin('/livez')).status, 200, 'still live')
      t.equal((await requestAdmin('/metrics')).status, 200, 'still scraped')
      const kept = { headers: { connection: 'keep-alive' } }
      const answers = [
        get('chargingAvailability=a', kept),
        get('', kept),
        request('/nothing', kept),
        request('/healthz', kept),
      ]
      t.strictSame(
        (await Promise.all(answers)).map(({ headers }) => headers.connection),
        answers.map(() => 'close'),
      )
      t.equal((await get('chargingAvailability=a')).status, 200, 'still served')
      await stopped
      await t.rejects(get('chargingAvailability=a'), 'then closed')
      await t.rejects(requestAdmin('/readyz'), 'then closed')
    },
  )

  await t.test('the admin listener answers 404 for other paths, without repeating them', async (t) => {
    const { requestAdmin } = await startService(t)
    const paths = ['/nothing-Tok9?key=Tok9', '/metrics/', '/Metrics', '/healthz/x', '//metrics', '/admin']
    const answers = await Promise.all(paths.map((path) => requestAdmin(path)))
    t.strictSame(
      answers.map(({ status }) => status),
      paths.map(() => 404),
    )
    t.notMatch(answers.map(({ text }) => text).join(''), 'Tok9')
    t.match((await requestAdmin('/metrics%zz')).status, /^40[04]$/)
  })

  await t.test('the admin listener accepts no POST for metrics and probes', async (t) => {
    const { requestAdmin } = await startService(t)
    const post = { method: 'POST', body: 'x' }
    const answers = await Promise.all(['/metrics', '/readyz'].map((path) => requestAdmin(path, post)))
    t.match(answers.map(({ status }) => status).join(' '), /^40[45] 40[45]$/)
  })

  await t.test('the admin listener serves no availability', async (t) => {
    const { requestAdmin, upstream } = await startService(t)
    const paths = [
      pathFor('chargingAvailability=a'),
      pathFor('chargingAvailability=a', 'xml'),
      '/openapi.yaml',
      '/docs',
    ]
    const answers = await Promise.all(paths.map((path) => requestAdmin(path)))
    t.strictSame(
      answers.map(({ status }) => status),
      paths.map(() => 404),
    )
    t.equal(upstream.calls.length, 0)
  })

  await t.test('the public listener serves neither metrics nor status', async (t) => {
    const { request, upstream } = await startService(t)
    const paths = ['/metrics', '/livez', '/readyz', '/status', '/', '/metrics?chargingAvailability=a']
    const answers = await Promise.all(paths.map((path) => request(path)))
    t.strictSame(
      answers.map(({ status }) => status),
      paths.map(() => 404),
    )
    t.notMatch(answers.map(({ text }) => text).join(''), /evproxy_|ready/)
    t.equal(upstream.calls.length, 0)
  })
})

await t.test('what holds calls back and who exceeds a limit', async (t) => {
  await t.test('calls that are not made are counted by their cause', async (t) => {
    const heldBack = async (env: Record<string, string>, script: Script, requests: number) => {
      const service = await startService(t, { env, script })
      for (let i = 0; i < requests; i++) await service.get(`chargingAvailability=a${i}`)
      const metrics = await scrape(service)
      const by = (cause: string) => metrics.value('evproxy_upstream_held_back_total', { by: cause }) ?? 0
      return ['quota', 'rate', 'circuit', 'cool_down'].map(by)
    }
    const none = { UPSTREAM_QUEUE_TIMEOUT: '0' }
    // A period begins with one call released at least, and the second of this one not before its half.
    t.strictSame(await heldBack({ UPSTREAM_QUOTA: '2/day' }, answerStation, 5), [4, 0, 0, 0])
    t.strictSame(await heldBack({ UPSTREAM_MAX_QPS: '2', ...none }, answerStation, 5), [0, 3, 0, 0])
    t.strictSame(await heldBack({}, answerStatus(500), 8), [0, 0, 3, 0])
    t.strictSame(await heldBack({}, answerStatus(429), 4), [0, 0, 0, 3])
  })

  await t.test('a request over a limit is counted for its client by name', async (t) => {
    const env = { CLIENT_KEYS: 'web=web-key-0123456789,ios=ios-key-0123456789', CLIENT_RATE_LIMIT: '1' }
    const service = await startService(t, { env })
    for (let i = 0; i < 3; i++) await service.get('chargingAvailability=a&key=web-key-0123456789')
    const metrics = await scrape(service)
    const of = (client: string) => metrics.value('evproxy_client_limited_requests_total', { client })
    t.strictSame([of('web'), of('ios'), of('none')], [2, 0, 0])
    t.equal(metrics.value('evproxy_client_limited_total', { limit: 'rate' }), 2)
  })

  await t.test('without a quota pacing has no sample, with one its forecast', async (t) => {
    const [without, withQuota] = await Promise.all([
      startService(t).then(scrape),
      startService(t, { env: { UPSTREAM_QUOTA: '100/day' } }).then(scrape),
    ])
    t.equal(without.value('evproxy_quota_projected_remaining'), undefined)
    t.equal(withQuota.value('evproxy_quota_projected_remaining'), 100)
    t.equal(withQuota.value('evproxy_quota_rationing'), 0)
  })
})
