import t from 'tap'
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

interface Promised {
  readonly type: MetricType
  /** Label names; for closed sets with the values that are there from the start. */
  readonly labels?: Readonly<Record<string, readonly string[] | null>>
}

/** The contract with dashboards and alerts. */
const ALWAYS: Readonly<Record<string, Promised>> = {
  evproxy_requests_total: { type: 'counter', labels: { format: ['json', 'xml', 'none'], status: null } },
  evproxy_request_duration_seconds: { type: 'histogram', labels: { result: RESULTS } },
  evproxy_cache_requests_total: { type: 'counter', labels: { result: RESULTS } },
  evproxy_cache_entries: { type: 'gauge' },
  evproxy_cache_bytes: { type: 'gauge' },
  evproxy_cache_evictions_total: { type: 'counter' },
  evproxy_cache_age_seconds: { type: 'histogram' },
  evproxy_upstream_requests_total: { type: 'counter', labels: { outcome: OUTCOMES } },
  evproxy_upstream_request_duration_seconds: { type: 'histogram' },
  evproxy_upstream_in_flight: { type: 'gauge' },
  evproxy_upstream_queue_length: { type: 'gauge' },
  evproxy_upstream_calls_per_second_limit: { type: 'gauge' },
  evproxy_upstream_circuit_state: { type: 'gauge', labels: { state: ['closed', 'open', 'half_open'] } },
  evproxy_quota_limit: { type: 'gauge' },
  evproxy_quota_remaining: { type: 'gauge' },
  evproxy_quota_reset_timestamp_seconds: { type: 'gauge' },
  evproxy_cache_effective_ttl_seconds: { type: 'gauge' },
  evproxy_build_info: { type: 'gauge', labels: { version: null, node_version: null } },
}

/** Those of a part that a configuration may go without: if they are there, they are like this. */
const WITH_THEIR_PART: Readonly<Record<string, Promised>> = {
  evproxy_shared_cache_requests_total: { type: 'counter', labels: { result: ['hit', 'miss', 'error'] } },
  evproxy_shared_cache_up: { type: 'gauge' },
  evproxy_client_requests_total: { type: 'counter', labels: { client: null } },
  evproxy_client_limited_total: { type: 'counter', labels: { limit: ['rate', 'in_flight'] } },
}

const PROMISED = { ...ALWAYS, ...WITH_THEIR_PART }

/** What a label of a metric says, in order of the alphabet. */
function labelValues({ families }: Exposition, name: string, label: string): string[] {
  const samples = families.get(name)?.samples ?? []
  return samples.map(({ labels }) => labels[label] ?? '').toSorted()
}

async function scrape({ requestAdmin }: Service): Promise<Exposition> {
  return readExposition((await requestAdmin('/metrics')).text)
}

await t.test('/metrics from the start', async (t) => {
  const service = await startService(t, { env: { UPSTREAM_QUOTA: '2500/day', UPSTREAM_MAX_QPS: '7' } })
  const { headers } = await service.requestAdmin('/metrics')
  const metrics = await scrape(service)

  await t.test('is the text format, without a fault', async (t) => {
    t.match(headers['content-type'], /^text\/plain; version=0\.0\.4/)
    t.same(metrics.problems, [])
  })

  await t.test('has all that is promised, by name, type and labels, and nothing else of ours', async (t) => {
    for (const name of Object.keys(ALWAYS)) t.ok(metrics.families.has(name), name)
    for (const [name, { type, help, samples }] of metrics.families) {
      if (!name.startsWith('evproxy_')) continue
      const promised = PROMISED[name]
      if (promised === undefined) {
        t.fail(`${name} is in no contract`)
        continue
      }
      t.equal(type, promised.type, `${name} is a ${promised.type}`)
      t.match(help, /^[A-Z].{8,}\.$/, `${name} says in a sentence what it is`)
      const labels = Object.keys(promised.labels ?? {}).toSorted()
      for (const sample of samples) {
        const own = Object.keys(sample.labels).filter((label) => label !== 'le')
        t.same(own.toSorted(), labels, `labels of ${sample.name}`)
      }
    }
  })

  await t.test('has every value of a closed label, at zero', async (t) => {
    for (const [name, { type, labels = {} }] of Object.entries(PROMISED)) {
      const series = type === 'histogram' ? `${name}_count` : name
      for (const [label, values] of Object.entries(labels)) {
        if (values === null || !metrics.families.has(name) || type === 'gauge') continue
        for (const value of values) {
          t.equal(metrics.sum(series, { [label]: value }), 0, `${name} ${value}`)
          t.not(metrics.value(series, { [label]: value }), undefined, `${name} ${value} is there`)
        }
      }
      const found = metrics.families.get(name)
      if (type !== 'gauge' && found) t.equal(metrics.sum(series), 0, `${name} begins at zero`)
    }
  })

  await t.test('has no result or outcome beyond those', async (t) => {
    t.same(labelValues(metrics, 'evproxy_cache_requests_total', 'result'), RESULTS.toSorted())
    t.same(labelValues(metrics, 'evproxy_upstream_requests_total', 'outcome'), OUTCOMES.toSorted())
    t.same([...UPSTREAM_OUTCOMES].toSorted(), OUTCOMES.toSorted())
  })

  await t.test('has every status that an error can have, 200 and 304, for every format', async (t) => {
    const known: readonly number[] = STATUSES
    for (const status of [200, 304, ...Object.values(STATUS_OF)]) {
      t.ok(known.includes(status), `${status} is known`)
      for (const format of ['json', 'xml', 'none']) {
        t.equal(
          metrics.value('evproxy_requests_total', { format, status: `${status}` }),
          0,
          `${format} ${status}`,
        )
      }
    }
  })

  await t.test('says what is running', async (t) => {
    const labels = { version: '0.0.0-test', node_version: process.version }
    t.equal(metrics.value('evproxy_build_info', labels), 1)
    t.equal(metrics.families.get('evproxy_build_info')?.samples.length, 1)
  })

  await t.test(
    'says in which state the circuit is, what may be called and spent, and for how long answers are fresh',
    async (t) => {
      const state = (value: string) => metrics.value('evproxy_upstream_circuit_state', { state: value })
      t.same([state('closed'), state('open'), state('half_open')], [1, 0, 0])
      t.equal(metrics.value('evproxy_upstream_calls_per_second_limit'), 7)
      t.equal(metrics.value('evproxy_quota_limit'), 2_500)
      t.equal(metrics.value('evproxy_quota_remaining'), 2_500)
      const resetAt = (metrics.value('evproxy_quota_reset_timestamp_seconds') ?? 0) * 1_000
      t.equal(resetAt % 86_400_000, 0, 'at midnight UTC')
      t.ok(resetAt > Date.now() && resetAt <= Date.now() + 86_400_000, 'the next one')
      t.ok((metrics.value('evproxy_cache_effective_ttl_seconds') ?? 0) >= 30, 'the TTL or a stretched one')
    },
  )

  await t.test("has Node's default metrics, without a prefix", async (t) => {
    const defaults = [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_seconds',
    ]
    for (const name of defaults) t.ok(metrics.families.has(name), name)
    t.ok((metrics.value('process_resident_memory_bytes') ?? 0) > 0)
  })
})

/** Answers by the id's first word, so that a storm meets every outcome. */
const byId = perCall(({ id }) => {
  const [kind = ''] = id.split('-')
  if (kind === 'empty') return (_call, response) => sendJson(response, station(id))
  if (kind === 'wrong') return (_call, response) => sendJson(response, station('another'))
  if (kind === 'cut') return (_call, response) => void response.destroy()
  return /^\d+$/.test(kind) ? answerStatus(Number(kind)) : answerStation
})

await t.test('the numbers add up', async (t) => {
  await t.test('after a storm of good and bad requests', async (t) => {
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
    t.equal(none, others.length, 'what is no lookup has no result')
    for (const result of RESULTS) {
      const label = { result }
      t.equal(
        metrics.sum('evproxy_request_duration_seconds_count', label),
        metrics.sum('evproxy_cache_requests_total', label),
        `${result}: durations are lookups`,
      )
    }
    t.equal(metrics.sum('evproxy_upstream_requests_total'), upstream.calls.length, 'outcomes add up to calls')
    t.equal(metrics.sum('evproxy_upstream_request_duration_seconds_count'), upstream.calls.length)
    const served = RESULTS.filter((result) => result !== 'error')
    const servedCount = served.reduce(
      (sum, result) => sum + metrics.sum('evproxy_cache_requests_total', { result }),
      0,
    )
    t.equal(metrics.sum('evproxy_cache_age_seconds_count'), servedCount, 'an age for every answer served')

    for (const status of new Set(answers.map((answer) => answer.status))) {
      const sent = answers.filter((answer) => answer.status === status).length
      t.equal(metrics.sum('evproxy_requests_total', { status: `${status}` }), sent, `${status}`)
    }
    t.equal(metrics.value('evproxy_cache_entries'), 5, 'stations held')
    t.ok((metrics.value('evproxy_cache_bytes') ?? 0) > 5 * 300, 'and what they take')
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
    await t.test(`outcome ${i + 1}: ${outcome}, and no other`, async (t) => {
      const service = await startService(t, { script, env: { UPSTREAM_TIMEOUT: '200ms' } })
      await service.get('chargingAvailability=a')
      const metrics = await scrape(service)
      const calls = service.upstream.calls.length
      t.equal(metrics.value('evproxy_upstream_requests_total', { outcome }), calls)
      t.equal(metrics.sum('evproxy_upstream_requests_total'), calls)
    })
  }

  await t.test('what is under way is seen', async (t) => {
    const barrier = new Barrier()
    const service = await startService(t, { script: waitFor(barrier) })
    const answers = ['a', 'b', 'c'].map((id) => service.get(`chargingAvailability=${id}`))
    await service.upstream.arrived(3)
    t.equal((await scrape(service)).value('evproxy_upstream_in_flight'), 3)
    barrier.open()
    await Promise.all(answers)
    t.equal((await scrape(service)).value('evproxy_upstream_in_flight'), 0)
  })

  await t.test('evictions are counted', async (t) => {
    const service = await startService(t, { env: { CACHE_MAX_ENTRIES: '2' } })
    for (const id of ['a', 'b', 'c', 'd']) await service.get(`chargingAvailability=${id}`)
    const metrics = await scrape(service)
    t.equal(metrics.value('evproxy_cache_entries'), 2)
    t.equal(metrics.value('evproxy_cache_evictions_total'), 2)
  })
})

/** Every series of ours, by name and labels. */
function ours({ families }: Exposition): string[] {
  const samples = [...families.values()].flatMap((family) => family.samples)
  return samples
    .filter(({ name }) => name.startsWith('evproxy_'))
    .map(({ name, labels }) => name + JSON.stringify(labels))
}

await t.test('no request makes a series', async (t) => {
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
  t.same(ours(after), ours(before), 'the same series as at the start')
})

await t.test('the admin listener', async (t) => {
  await t.test('is live and ready once started', async (t) => {
    const { requestAdmin } = await startService(t)
    t.equal((await requestAdmin('/livez')).status, 200)
    t.equal((await requestAdmin('/readyz')).status, 200)
  })

  await t.test('stays ready while upstream is away', async (t) => {
    const { requestAdmin, get, upstream } = await startService(t)
    await upstream.stop()
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) await get(`chargingAvailability=${id}`)
    t.equal((await requestAdmin('/readyz')).status, 200)
    t.equal((await requestAdmin('/livez')).status, 200)
  })

  await t.test('is live, but neither ready before the start nor from the draining on', async (t) => {
    const health = new Health()
    t.equal(health.ready, false, 'before both listeners are open')
    health.markReady()
    t.equal(health.ready, true)
    health.markDraining()
    t.equal(health.ready, false, 'while draining')
    health.markReady()
    t.equal(health.ready, false, 'for good')
  })

  await t.test('says 503 while it drains, and the public one closes each connection', async (t) => {
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
    for (const { status, headers } of await Promise.all(answers)) {
      t.equal(headers.connection, 'close', `${status}`)
    }
    t.equal((await get('chargingAvailability=a')).status, 200, 'still served')
    await stopped
    await t.rejects(get('chargingAvailability=a'), 'then closed')
    await t.rejects(requestAdmin('/readyz'), 'then closed')
  })

  await t.test('knows no other path, and tells nothing of it', async (t) => {
    const { requestAdmin } = await startService(t)
    for (const path of [
      '/nothing-Tok9?key=Tok9',
      '/metrics/',
      '/Metrics',
      '/healthz/x',
      '//metrics',
      '/admin',
    ]) {
      const answer = await requestAdmin(path)
      t.equal(answer.status, 404, path)
      t.notMatch(answer.text, 'Tok9')
    }
    t.match((await requestAdmin('/metrics%zz')).status, /^40[04]$/)
    for (const path of ['/metrics', '/readyz']) {
      t.match(
        (await requestAdmin(path, { method: 'POST', body: 'x' })).status,
        /^40[45]$/,
        'nor any other method',
      )
    }
  })

  await t.test('serves nothing to clients, and the public one nothing to operators', async (t) => {
    const { request, requestAdmin, upstream } = await startService(t)
    for (const path of [
      pathFor('chargingAvailability=a'),
      pathFor('chargingAvailability=a', 'xml'),
      '/openapi.yaml',
      '/docs',
    ]) {
      t.equal((await requestAdmin(path)).status, 404, `${path} on the admin listener`)
    }
    for (const path of ['/metrics', '/livez', '/readyz', '/status', '/', '/metrics?chargingAvailability=a']) {
      const answer = await request(path)
      t.equal(answer.status, 404, `${path} on the public listener`)
      t.notMatch(answer.text, /evproxy_|ready/)
    }
    t.equal(upstream.calls.length, 0)
  })
})
