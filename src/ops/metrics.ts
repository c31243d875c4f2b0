import type { Metric, MetricObject, MetricValue } from 'prom-client'
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { Gauges, Observer, RequestResult } from '../observer.ts'
import {
  CACHE_RESULTS,
  CIRCUIT_STATES,
  CLIENT_LIMITS,
  FORMATS,
  SHARED_RESULTS,
  STATUSES,
  UPSTREAM_OUTCOMES,
} from '../observer.ts'
import { Histogram, Tally } from './counters.ts'

export interface Metrics {
  readonly observer: Partial<Observer>
  readonly contentType: string
  /** The exposition text of this moment. */
  readonly render: () => Promise<string>
}

/** What the process is, for `evproxy_build_info`. */
export interface Build {
  readonly version: string
  readonly nodeVersion: string
}

type Labels = Readonly<Record<string, string>>
type Sample = readonly [labels: Labels, value: number]

const RESULTS: readonly RequestResult[] = [...CACHE_RESULTS, 'none']
/** The client of a request without a key that is known; no client has this name. */
const NOBODY = 'none'
/** Seconds: what is held is answered in less than one millisecond, what upstream must answer in up to ten seconds. */
const REQUEST_BUCKETS = [
  0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]
const UPSTREAM_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const AGE_BUCKETS = [1, 2.5, 5, 10, 20, 30, 45, 60, 120, 300, 600]

/**
 * What the parts say happened, as Prometheus metrics; the only module that knows prom-client. The registry is
 * this object's own, and every label value is there from the start, so that a rate never misses its first step.
 */
export function createMetrics(gauges: Gauges, build: Build): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })

  const requests = new Tally(
    FORMATS.flatMap((format) => STATUSES.map((status) => requestLabel(format, status))),
  )
  const requestSeconds = new Map(RESULTS.map((result) => [result, new Histogram(REQUEST_BUCKETS)]))
  const lookups = new Tally<string>(CACHE_RESULTS)
  const clients = new Tally<string>([])
  const clientLimits = new Tally<string>(CLIENT_LIMITS)
  const ages = new Histogram(AGE_BUCKETS)
  const evictions = new Tally(['evicted'])
  const sharedLookups = new Tally<string>(SHARED_RESULTS)
  const attempts = new Tally<string>(UPSTREAM_OUTCOMES)
  const attemptSeconds = new Histogram(UPSTREAM_BUCKETS)

  const counter = (name: string, help: string, samples: () => Sample[]) => {
    expose(registry, name, help, 'counter', () => samples().map(([labels, value]) => ({ labels, value })))
  }
  const gauge = (name: string, help: string, samples: () => Sample[]) => {
    expose(registry, name, help, 'gauge', () => samples().map(([labels, value]) => ({ labels, value })))
  }
  const histogram = (name: string, help: string, series: () => (readonly [Labels, Histogram])[]) => {
    expose(registry, name, help, 'histogram', () =>
      series().flatMap(([labels, one]) => bucketValues(name, labels, one)),
    )
  }

  counter(
    'evproxy_requests_total',
    'Requests answered on the public listener, by format asked for and status sent.',
    () => [...requests.counts].map(([label, value]) => [requestLabels(label), value]),
  )
  histogram(
    'evproxy_request_duration_seconds',
    'Time from a request to its answer, by how the cache answered; none means that no lookup was made.',
    () => [...requestSeconds].map(([result, seconds]) => [{ result }, seconds]),
  )
  if (gauges.access().clients !== null) {
    counter('evproxy_client_requests_total', 'Requests by client; none had no key that is known.', () =>
      [...(gauges.access().clients ?? []), NOBODY].map((client) => [{ client }, clients.of(client)]),
    )
  }
  if (gauges.access().isLimited) {
    counter('evproxy_client_limited_total', 'Requests that met a limit of their client, by the limit.', () =>
      [...clientLimits.counts].map(([limit, value]) => [{ limit }, value]),
    )
  }
  counter(
    'evproxy_cache_requests_total',
    'Lookups in the cache, by how they ended; the sum is the number of lookups.',
    () => [...lookups.counts].map(([result, value]) => [{ result }, value]),
  )
  gauge('evproxy_cache_entries', 'Stations held.', () => [[{}, gauges.cache().entries]])
  gauge('evproxy_cache_bytes', 'Memory that the stations held take, renderings included.', () => [
    [{}, gauges.cache().bytes],
  ])
  counter('evproxy_cache_evictions_total', 'Stations that left the cache for want of room.', () =>
    [...evictions.counts.values()].map((value) => [{}, value]),
  )
  histogram('evproxy_cache_age_seconds', 'Age of the answers served.', () => [[{}, ages]])
  counter('evproxy_shared_cache_requests_total', 'Questions to the shared tier, by how they ended.', () =>
    [...sharedLookups.counts].map(([result, value]) => [{ result }, value]),
  )
  gauge(
    'evproxy_shared_cache_up',
    'Whether the shared tier can be reached. No sample without a shared tier.',
    () => {
      const up = gauges.sharedTierUp()
      return up === null ? [] : [[{}, up ? 1 : 0]]
    },
  )
  counter('evproxy_upstream_requests_total', 'Attempts to call upstream, by how they ended.', () =>
    [...attempts.counts].map(([outcome, value]) => [{ outcome }, value]),
  )
  histogram(
    'evproxy_upstream_request_duration_seconds',
    'Time that an attempt to call upstream took.',
    () => [[{}, attemptSeconds]],
  )
  gauge('evproxy_upstream_in_flight', 'Attempts to call upstream that are under way.', () => [
    [{}, gauges.upstream().inFlight],
  ])
  gauge(
    'evproxy_upstream_queue_length',
    'Calls that wait for their place under the limit of calls a second.',
    () => [[{}, gauges.upstream().queued]],
  )
  gauge(
    'evproxy_upstream_calls_per_second_limit',
    'UPSTREAM_MAX_QPS as configured. No sample without a limit.',
    () => {
      const { callsPerSecond } = gauges.upstream()
      return callsPerSecond === null ? [] : [[{}, callsPerSecond]]
    },
  )
  gauge('evproxy_upstream_circuit_state', 'The circuit breaker: 1 for the state in which it is.', () =>
    CIRCUIT_STATES.map((state) => [{ state }, gauges.upstream().circuit === state ? 1 : 0]),
  )
  const quota = (
    name: string,
    help: string,
    read: (quota: NonNullable<ReturnType<Gauges['quota']>>) => number,
  ) => {
    gauge(name, `${help} No sample without a quota.`, () => {
      const present = gauges.quota()
      return present === null ? [] : [[{}, read(present)]]
    })
  }
  quota('evproxy_quota_limit', 'Calls allowed in the present period.', ({ limit }) => limit)
  quota('evproxy_quota_remaining', 'Calls left in the present period.', ({ remaining }) => remaining)
  quota(
    'evproxy_quota_reset_timestamp_seconds',
    'When the next period begins.',
    ({ resetAtMs }) => resetAtMs / 1000,
  )
  gauge(
    'evproxy_cache_effective_ttl_seconds',
    'The fresh time in force, as the quota has stretched it.',
    () => [[{}, gauges.effectiveTtlMs() / 1000]],
  )
  gauge('evproxy_build_info', 'What is running; the value is always 1.', () => [
    [{ version: build.version, node_version: build.nodeVersion }, 1],
  ])

  const observer: Partial<Observer> = {
    requestAnswered(format, status, result, seconds) {
      requests.add(requestLabel(format, status))
      requestSeconds.get(result)?.observe(seconds)
    },
    clientAsked: (name) => clients.add(name ?? NOBODY),
    clientLimited: (limit) => clientLimits.add(limit),
    clientsChanged: (names) => clients.keep([...names, NOBODY]),
    lookedUp(result, ageSeconds) {
      lookups.add(result)
      if (ageSeconds !== null) ages.observe(ageSeconds)
    },
    evicted: () => evictions.add('evicted'),
    sharedLookedUp: (result) => sharedLookups.add(result),
    upstreamAnswered(outcome, seconds) {
      attempts.add(outcome)
      attemptSeconds.observe(seconds)
    },
  }
  return { observer, contentType: registry.contentType, render: () => registry.metrics() }
}

/** Two labels as one key of a flat map. */
function requestLabel(format: string, status: number): string {
  return `${format} ${status}`
}

function requestLabels(key: string): Labels {
  const [format = '', status = ''] = key.split(' ')
  return { format, status }
}

/** A metric whose values are read when somebody scrapes. prom-client asks no more of one than its `get`. */
function expose(
  registry: Registry,
  name: string,
  help: string,
  type: 'counter' | 'gauge' | 'histogram',
  values: () => (MetricValue<string> & { metricName?: string })[],
): void {
  const get = async (): Promise<MetricObject> =>
    ({ name, help, type, aggregator: 'sum', values: values() }) as unknown as MetricObject
  registry.registerMetric({ name, get } as unknown as Metric)
}

/** Buckets are cumulative on the wire: each counts all values up to its bound. */
function bucketValues(name: string, labels: Labels, { bounds, buckets, sum, count }: Histogram) {
  let upTo = 0
  const cumulative = buckets.map((inBucket, i) => {
    upTo += inBucket
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bounds[i] ?? '+Inf' }, value: upTo }
  })
  return [
    ...cumulative,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ]
}
