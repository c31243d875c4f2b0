import type { Gauges } from '../../gauges.ts'
import { STREAM_KINDS } from '../../events.ts'
import type { Family } from './family.ts'
import { counter, gauge, histogram, optional, seriesOf, single } from './family.ts'
import type { MetricsRecorder } from './metrics-recorder.ts'
import { NO_CLIENT } from './metrics-recorder.ts'
import { quotaFamilies, upstreamFamilies } from './upstream-families.ts'

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
    ...waitingFamilies(recorder, gauges),
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

function waitingFamilies(recorder: MetricsRecorder, gauges: Gauges): Family[] {
  return [
    gauge(
      'evproxy_waiting_bytes',
      'Memory that is counted for what waits: calls in flight, waiting and pipelined requests, bodies that are received, batches and responses that are not sent yet. 0 at rest.',
      () => single(gauges.waiting().bytes),
    ),
    gauge(
      'evproxy_waiting_limit_bytes',
      "The limit of evproxy_waiting_bytes: an eighth of the heap's limit.",
      () => single(gauges.waiting().limitBytes),
    ),
    counter(
      'evproxy_overload_total',
      'Requests and items of batches that got a 503 because of that limit, and connections that it ended.',
      () => single(recorder.overloads),
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
