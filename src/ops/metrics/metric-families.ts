import type { Gauges } from '../../events.ts'
import { CIRCUIT_STATES } from '../../events.ts'
import type { Histogram, LabelledCounter } from './counters.ts'
import type { MetricsRecorder } from './metrics-recorder.ts'
import { formatAndStatusOf, NO_CLIENT } from './metrics-recorder.ts'

export type Labels = Readonly<Record<string, string>>
/** A value and its labels; a histogram's value is the histogram. */
export type Series<V> = readonly [labels: Labels, value: V]

/** One metric with all its series, as they are when `read` is called. */
export type Family = { readonly name: string; readonly help: string } & (
  | { readonly type: 'counter' | 'gauge'; readonly read: () => readonly Series<number>[] }
  | { readonly type: 'histogram'; readonly read: () => readonly Series<Histogram>[] }
)

/** What the process is, for `evproxy_build_info`. */
export interface Build {
  readonly version: string
  readonly nodeVersion: string
}

/** Every metric of the service's own, in the order of the exposition. */
export function metricFamilies(counts: MetricsRecorder, gauges: Gauges, build: Build): Family[] {
  return [
    ...requestFamilies(counts),
    ...clientFamilies(counts, gauges),
    ...cacheFamilies(counts, gauges),
    ...sharedTierFamilies(counts, gauges),
    ...upstreamFamilies(counts, gauges),
    ...quotaFamilies(gauges),
    gauge('evproxy_build_info', 'What is running; the value is always 1.', () => [
      [{ version: build.version, node_version: build.nodeVersion }, 1],
    ]),
  ]
}

function requestFamilies({ requests, requestSeconds }: MetricsRecorder): Family[] {
  return [
    counter(
      'evproxy_requests_total',
      'Requests answered on the public listener, by format asked for and status sent.',
      () => [...requests.counts].map(([key, value]) => [formatAndStatusOf(key), value]),
    ),
    histogram(
      'evproxy_request_duration_seconds',
      'Time from a request to its answer, by how the cache answered; none means that no lookup was made.',
      () => [...requestSeconds].map(([result, seconds]) => [{ result }, seconds]),
    ),
  ]
}

/** Where there are no keys and no limits there is nothing to tell. */
function clientFamilies({ clients, clientLimits }: MetricsRecorder, gauges: Gauges): Family[] {
  const byClient = counter(
    'evproxy_client_requests_total',
    'Requests by client; none had no key that is known.',
    () => [...(gauges.access().clients ?? []), NO_CLIENT].map((client) => [{ client }, clients.of(client)]),
  )
  const byLimit = counter(
    'evproxy_client_limited_total',
    'Requests that met a limit of their client, by the limit.',
    () => seriesOf(clientLimits, 'limit'),
  )
  return [
    ...(gauges.access().clients === null ? [] : [byClient]),
    ...(gauges.access().isLimited ? [byLimit] : []),
  ]
}

function cacheFamilies(counts: MetricsRecorder, gauges: Gauges): Family[] {
  return [
    counter(
      'evproxy_cache_requests_total',
      'Lookups in the cache, by how they ended; the sum is the number of lookups.',
      () => seriesOf(counts.lookups, 'result'),
    ),
    gauge('evproxy_cache_entries', 'Stations held.', () => single(gauges.cache().entries)),
    gauge('evproxy_cache_bytes', 'Memory that the stations held take, renderings included.', () =>
      single(gauges.cache().bytes),
    ),
    counter('evproxy_cache_evictions_total', 'Stations that left the cache for want of room.', () =>
      single(counts.evictions),
    ),
    histogram('evproxy_cache_age_seconds', 'Age of the answers served.', () => single(counts.ageSeconds)),
    gauge(
      'evproxy_cache_effective_ttl_seconds',
      'The fresh time in force, as the quota has stretched it.',
      () => single(gauges.effectiveTtlMs() / 1000),
    ),
  ]
}

function sharedTierFamilies({ sharedLookups }: MetricsRecorder, gauges: Gauges): Family[] {
  return [
    counter('evproxy_shared_cache_requests_total', 'Questions to the shared tier, by how they ended.', () =>
      seriesOf(sharedLookups, 'result'),
    ),
    gauge(
      'evproxy_shared_cache_up',
      'Whether the shared tier can be reached. No sample without a shared tier.',
      () => ifThere(gauges.sharedCacheUp(), Number),
    ),
  ]
}

function upstreamFamilies({ attempts, attemptSeconds }: MetricsRecorder, gauges: Gauges): Family[] {
  return [
    counter('evproxy_upstream_requests_total', 'Attempts to call upstream, by how they ended.', () =>
      seriesOf(attempts, 'outcome'),
    ),
    histogram(
      'evproxy_upstream_request_duration_seconds',
      'Time that an attempt to call upstream took.',
      () => single(attemptSeconds),
    ),
    gauge('evproxy_upstream_in_flight', 'Attempts to call upstream that are under way.', () =>
      single(gauges.upstream().inFlight),
    ),
    gauge(
      'evproxy_upstream_queue_length',
      'Calls that wait for their place under the limit of calls a second.',
      () => single(gauges.upstream().queued),
    ),
    gauge(
      'evproxy_upstream_calls_per_second_limit',
      'UPSTREAM_MAX_QPS as configured. No sample without a limit.',
      () => ifThere(gauges.upstream().callsPerSecond, Number),
    ),
    gauge('evproxy_upstream_circuit_state', 'The circuit breaker: 1 for the state in which it is.', () =>
      CIRCUIT_STATES.map((state) => [{ state }, gauges.upstream().circuit === state ? 1 : 0]),
    ),
  ]
}

function quotaFamilies(gauges: Gauges): Family[] {
  return [
    gauge('evproxy_quota_limit', 'Calls allowed in the present period. No sample without a quota.', () =>
      ifThere(gauges.quota(), ({ limit }) => limit),
    ),
    gauge('evproxy_quota_remaining', 'Calls left in the present period. No sample without a quota.', () =>
      ifThere(gauges.quota(), ({ remaining }) => remaining),
    ),
    gauge(
      'evproxy_quota_reset_timestamp_seconds',
      'When the next period begins. No sample without a quota.',
      () => ifThere(gauges.quota(), ({ resetAtMs }) => resetAtMs / 1000),
    ),
  ]
}

type Told<V> = () => readonly Series<V>[]
type Definition<V> = (name: string, help: string, read: Told<V>) => Family

const counter: Definition<number> = (name, help, read) => ({ name, help, type: 'counter', read })
const gauge: Definition<number> = (name, help, read) => ({ name, help, type: 'gauge', read })
const histogram: Definition<Histogram> = (name, help, read) => ({ name, help, type: 'histogram', read })

/** A series without labels. */
function single<V>(value: V): readonly Series<V>[] {
  return [[{}, value]]
}

/** A series for each label value that is counted. */
function seriesOf(tally: LabelledCounter<string>, label: string): readonly Series<number>[] {
  return [...tally.counts].map(([value, count]) => [{ [label]: value }, count])
}

/** No sample where there is nothing to measure. */
function ifThere<T>(thing: T | null, read: (thing: T) => number): readonly Series<number>[] {
  return thing === null ? [] : single(read(thing))
}
