import { CIRCUIT_STATES } from '../../events.ts'
import type { Gauges } from '../../gauges.ts'
import type { Family } from './family.ts'
import { counter, gauge, histogram, optional, seriesOf, single } from './family.ts'
import type { MetricsRecorder } from './metrics-recorder.ts'

export function upstreamFamilies(recorder: MetricsRecorder, gauges: Gauges): Family[] {
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

export function quotaFamilies(gauges: Gauges): Family[] {
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
