import type { Gauges } from '../../events.ts'
import { CIRCUIT_STATES } from '../../events.ts'
import type { Histogram, LabelledCounter } from './counters.ts'
import type { MetricsRecorder } from './metrics-recorder.ts'
import { formatAndStatusOf, NO_CLIENT } from './metrics-recorder.ts'

export type Labels = Readonly<Record<string, string>>
/** A value and its labels; a histogram's value is the histogram. */
export type Series<V> = readonly [labels: Labels, value: V]

/** One metric. `read` returns its current series. docs/metrics.md is generated from these. */
export type Family = { readonly name: string; readonly help: string } & (
  | { readonly type: 'counter' | 'gauge'; readonly read: () => readonly Series<number>[] }
  | { readonly type: 'histogram'; readonly read: () => readonly Series<Histogram>[] }
)

/** The labels of `evproxy_build_info`. */
export interface Build {
  readonly version: string
  readonly nodeVersion: string
}

/** Every metric of the service, in the order of the exposition. */
export function metricFamilies(recorder: MetricsRecorder, gauges: Gauges, build: Build): Family[] {
  return [
    ...requestFamilies(recorder),
    ...clientFamilies(recorder, gauges),
    ...cacheFamilies(recorder, gauges),
    ...sharedCacheFamilies(recorder, gauges),
    ...upstreamFamilies(recorder, gauges),
    ...quotaFamilies(gauges),
    gauge('evproxy_build_info', 'Versions of the service and of Node.js; the value is always 1.', () => [
      [{ version: build.version, node_version: build.nodeVersion }, 1],
    ]),
  ]
}

function requestFamilies({ requests, requestSeconds }: MetricsRecorder): Family[] {
  return [
    counter(
      'evproxy_requests_total',
      'Responses sent on the public listener, by requested format and status.',
      () => [...requests.counts].map(([key, value]) => [formatAndStatusOf(key), value]),
    ),
    histogram(
      'evproxy_request_duration_seconds',
      'Time from a request to its response, by cache result; none without a lookup.',
      () => [...requestSeconds].map(([result, seconds]) => [{ result }, seconds]),
    ),
  ]
}

function clientFamilies({ clients, clientLimits }: MetricsRecorder, gauges: Gauges): Family[] {
  const byClient = counter(
    'evproxy_client_requests_total',
    'Requests by name of the client; none without a known key. Absent if no client keys are configured.',
    () => [...(gauges.access().clients ?? []), NO_CLIENT].map((client) => [{ client }, clients.of(client)]),
  )
  const byLimit = counter(
    'evproxy_client_limited_total',
    'Requests that exceeded a limit of their client, by limit. Absent if clients have no limits.',
    () => seriesOf(clientLimits, 'limit'),
  )
  return [
    ...(gauges.access().clients === null ? [] : [byClient]),
    ...(gauges.access().isLimited ? [byLimit] : []),
  ]
}

function cacheFamilies(recorder: MetricsRecorder, gauges: Gauges): Family[] {
  return [
    counter('evproxy_cache_requests_total', 'Cache lookups by result.', () =>
      seriesOf(recorder.lookups, 'result'),
    ),
    gauge('evproxy_cache_entries', 'Cached stations.', () => single(gauges.cache().entries)),
    gauge('evproxy_cache_bytes', 'Memory of the cached answers, renderings included.', () =>
      single(gauges.cache().bytes),
    ),
    counter('evproxy_cache_evictions_total', 'Stations evicted because the cache was full.', () =>
      single(recorder.evictions),
    ),
    histogram('evproxy_cache_age_seconds', 'Age of the answers served.', () => single(recorder.ageSeconds)),
    gauge(
      'evproxy_cache_effective_ttl_seconds',
      'The current TTL: CACHE_TTL, or longer if pacing extends it to save quota.',
      () => single(gauges.effectiveTtlMs() / 1000),
    ),
  ]
}

function sharedCacheFamilies({ sharedLookups }: MetricsRecorder, gauges: Gauges): Family[] {
  return [
    counter(
      'evproxy_shared_cache_requests_total',
      'Lookups in the shared cache by result; error if the command failed or the value cannot be decoded.',
      () => seriesOf(sharedLookups, 'result'),
    ),
    gauge(
      'evproxy_shared_cache_up',
      'Whether Redis is connected or the state directory works: 1 or 0. No sample without REDIS_URL or STATE_DIR.',
      () => optional(gauges.sharedCacheUp(), Number),
    ),
  ]
}

function upstreamFamilies({ attempts, attemptSeconds }: MetricsRecorder, gauges: Gauges): Family[] {
  return [
    counter('evproxy_upstream_requests_total', 'Attempts to call upstream by outcome.', () =>
      seriesOf(attempts, 'outcome'),
    ),
    histogram(
      'evproxy_upstream_request_duration_seconds',
      'Duration of an attempt to call upstream, without its wait in the queue.',
      () => single(attemptSeconds),
    ),
    gauge('evproxy_upstream_in_flight', 'Attempts to call upstream that are in flight.', () =>
      single(gauges.upstream().inFlight),
    ),
    gauge('evproxy_upstream_queue_length', 'Calls that wait for a slot of the rate limit.', () =>
      single(gauges.upstream().queued),
    ),
    gauge(
      'evproxy_upstream_calls_per_second_limit',
      'The rate limit, UPSTREAM_MAX_QPS. No sample without a limit.',
      () => optional(gauges.upstream().callsPerSecond, Number),
    ),
    gauge('evproxy_upstream_circuit_state', 'The circuit breaker: 1 for its current state, else 0.', () =>
      CIRCUIT_STATES.map((state) => [{ state }, gauges.upstream().circuit === state ? 1 : 0]),
    ),
  ]
}

function quotaFamilies(gauges: Gauges): Family[] {
  return [
    gauge('evproxy_quota_limit', 'Calls allowed in the current period. No sample without a quota.', () =>
      optional(gauges.quota(), ({ limit }) => limit),
    ),
    gauge('evproxy_quota_remaining', 'Calls left in the current period. No sample without a quota.', () =>
      optional(gauges.quota(), ({ remaining }) => remaining),
    ),
    gauge(
      'evproxy_quota_reset_timestamp_seconds',
      'Start of the next period, in seconds since the epoch. No sample without a quota.',
      () => optional(gauges.quota(), ({ resetAtMs }) => resetAtMs / 1000),
    ),
  ]
}

type Definition<V> = (name: string, help: string, read: () => readonly Series<V>[]) => Family

const counter: Definition<number> = (name, help, read) => ({ name, help, type: 'counter', read })
const gauge: Definition<number> = (name, help, read) => ({ name, help, type: 'gauge', read })
const histogram: Definition<Histogram> = (name, help, read) => ({ name, help, type: 'histogram', read })

/** One series without labels. */
function single<V>(value: V): readonly Series<V>[] {
  return [[{}, value]]
}

/** One series per label value. */
function seriesOf(counter: LabelledCounter<string>, label: string): readonly Series<number>[] {
  return [...counter.counts].map(([value, count]) => [{ [label]: value }, count])
}

/** No series for null. */
function optional<T>(value: T | null, read: (value: T) => number): readonly Series<number>[] {
  return value === null ? [] : single(read(value))
}
