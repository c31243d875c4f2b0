import type { Gauges } from '../../gauges.ts'
import { CIRCUIT_STATES, STREAM_KINDS } from '../../events.ts'
import type { Histogram, LabelledCounter } from './counters.ts'
import type { MetricsRecorder } from './metrics-recorder.ts'
import { NO_CLIENT } from './metrics-recorder.ts'

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
    ...liveFamilies(recorder, gauges),
    ...upstreamFamilies(recorder, gauges),
    ...quotaFamilies(gauges),
    ...processFamilies(recorder),
    gauge('evproxy_build_info', 'Versions of the service and of Node.js; the value is always 1.', () => [
      [{ version: build.version, node_version: build.nodeVersion }, 1],
    ]),
  ]
}

function requestFamilies({ requests, requestSeconds }: MetricsRecorder): Family[] {
  return [
    counter(
      'evproxy_requests_total',
      'Responses sent on the public listener, by requested format and status; 499 for a client that left before.',
      () =>
        [...requests].flatMap(([format, { counts }]) =>
          [...counts].map(([status, value]) => [{ format, status: String(status) }, value] as const),
        ),
    ),
    histogram(
      'evproxy_request_duration_seconds',
      'Time from a request to its response, by cache result; none without a lookup.',
      () => [...requestSeconds].map(([result, seconds]) => [{ result }, seconds]),
    ),
  ]
}

function clientFamilies(recorder: MetricsRecorder, gauges: Gauges): Family[] {
  const { clients, clientCalls, clientLimits, limitedClients } = recorder
  const names = () => [...(gauges.access().clients ?? []), NO_CLIENT]
  const byClient = counter(
    'evproxy_client_requests_total',
    'Requests by name of the client; none without a known key. Absent if no client keys are configured.',
    () => names().map((client) => [{ client }, clients.of(client)]),
  )
  const callsByClient = counter(
    'evproxy_client_upstream_calls_total',
    'Calls that lookups of a client started, by name of the client. Absent if no client keys are configured.',
    () => (gauges.access().clients ?? []).map((client) => [{ client }, clientCalls.of(client)]),
  )
  const byLimit = counter(
    'evproxy_client_limited_total',
    'Requests that exceeded a limit of their client, by limit. Absent if clients have no limits.',
    () => seriesOf(clientLimits, 'limit'),
  )
  const limitedByClient = counter(
    'evproxy_client_limited_requests_total',
    'Requests that exceeded a limit of their client, by name of the client. Absent if clients have no limits.',
    () => names().map((client) => [{ client }, limitedClients.of(client)]),
  )
  return [
    ...(gauges.access().clients === null ? [] : [byClient, callsByClient]),
    ...(gauges.access().isLimited ? [byLimit, limitedByClient] : []),
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
      'CACHE_TTL; with a quota, the mean of the TTLs of the answers served in the last five minutes.',
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

function liveFamilies({ events }: MetricsRecorder, gauges: Gauges): Family[] {
  return [
    gauge('evproxy_event_streams', 'Open event streams and long polls.', () =>
      STREAM_KINDS.map((kind) => [{ kind }, gauges.live()[kind]]),
    ),
    gauge('evproxy_watched_stations', 'Stations that streams, long polls or WATCH_FILE watch.', () =>
      single(gauges.live().stations),
    ),
    counter('evproxy_events_total', 'Events sent to streams.', () => seriesOf(events, 'event')),
  ]
}

function upstreamFamilies(recorder: MetricsRecorder, gauges: Gauges): Family[] {
  const { answers, attempts, attemptSeconds, heldBack } = recorder
  return [
    counter('evproxy_upstream_requests_total', 'Attempts to call upstream by outcome.', () =>
      seriesOf(attempts, 'outcome'),
    ),
    counter(
      'evproxy_upstream_unconfirmed_empty_total',
      'Answers without connectors after a full one that did not replace it; the third in a row does.',
      () => single(recorder.unconfirmedEmpties),
    ),
    counter(
      'evproxy_upstream_answers_total',
      'Good answers of upstream by whether they differ from the one before; first if there was none.',
      () => seriesOf(answers, 'change'),
    ),
    histogram(
      'evproxy_upstream_request_duration_seconds',
      'Duration of an attempt to call upstream, without its wait in the queue.',
      () => single(attemptSeconds),
    ),
    counter(
      'evproxy_upstream_held_back_total',
      'Calls that were wanted and not made, by what held them back.',
      () => seriesOf(heldBack, 'by'),
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
    gauge(
      'evproxy_quota_projected_remaining',
      'Calls that pacing expects to be left at the reset; for the first ten minutes of requests, those left now. No sample without a quota.',
      () => optional(gauges.pacing(), ({ projectedRemaining }) => projectedRemaining),
    ),
    gauge(
      'evproxy_quota_rationing',
      'Whether calls are rationed: 1 or 0. Because the quota does not last even at CACHE_MAX_TTL, or not with the only TTL there is (CACHE_TTL is 0 or CACHE_MAX_TTL no longer than it); because more was asked for than is released at the start; or because of a burst under a quota of less than 400 calls. No sample without a quota.',
      () => optional(gauges.pacing(), ({ isRationing }) => Number(isRationing)),
    ),
    gauge(
      'evproxy_quota_unknown_ids_remaining',
      'Calls that may still find no station: what is left of the allowance for unknown ids. No sample without a quota.',
      () => optional(gauges.pacing(), ({ unknownIdsRemaining }) => unknownIdsRemaining),
    ),
    gauge(
      'evproxy_cache_estimated_correct_ratio',
      'Expected share of the answers served in the last five minutes that are still what upstream would answer. No sample without a quota or before the first answer.',
      () => optional(gauges.pacing()?.estimatedCorrectRatio ?? null, (ratio) => ratio),
    ),
  ]
}

function processFamilies(recorder: MetricsRecorder): Family[] {
  return [
    gauge(
      'evproxy_key_file_valid',
      'Whether a file of keys could be read and parsed at the last check: 1 or 0; 1 if it is not configured.',
      () => [...recorder.validKeyFiles].map(([file, isValid]) => [{ file }, isValid]),
    ),
    counter('evproxy_log_lines_dropped_total', 'Log lines that the destination did not take.', () =>
      single(recorder.logLinesDropped),
    ),
    counter(
      'evproxy_file_descriptors_exhausted_total',
      'Checks (one in 5 s) without a free descriptor.',
      () => single(recorder.exhaustedDescriptorChecks),
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

function seriesOf(counter: LabelledCounter<string>, label: string): readonly Series<number>[] {
  return [...counter.counts].map(([value, count]) => [{ [label]: value }, count])
}

/** No series for null. */
function optional<T>(value: T | null, read: (value: T) => number): readonly Series<number>[] {
  return value === null ? [] : single(read(value))
}
