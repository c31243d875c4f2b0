/**
 * Fills the history and the recent errors of the status page and measures their cost. Runs in its own process with
 * --expose-gc. Prints one JSON object: memory in bytes (without the native memory of the latency histograms), time per
 * request in ns. The time includes the counters of the metrics, which the status page reads.
 */
import { broadcast } from '../../dist/events.js'
import { MetricsRecorder } from '../../dist/ops/metrics/metrics-recorder.js'
import { Status } from '../../dist/ops/status/status.js'

const HOUR = 3_600_000
const REQUESTS = 3_000_000
const LONG_TEXT = 'x'.repeat(1_000)

let now = Date.UTC(2026, 0, 1)
const clock = { now: () => now, wall: () => now }
const quota = { limit: 100_000, remaining: 100_000, resetAtMs: now + 24 * HOUR }
const gauges = {
  cache: () => ({ entries: 1, bytes: 1 }),
  upstream: () => ({ inFlight: 0, queued: 0, circuit: 'closed', callsPerSecond: 5 }),
  quota: () => quota,
  pacing: () => ({ projectedRemaining: 0, isProjected: true, isRationing: false, shortfall: null }),
  effectiveTtlMs: () => 30_000,
  sharedCacheUp: () => null,
}
const options = {
  version: '0',
  nodeVersion: process.version,
  instance: null,
  settings: {},
  cache: { ttlMs: 30_000, staleIfErrorMs: 300_000, maxEntries: 1, maxBytes: 1 },
  upstream: { quota: { per: 'day' } },
}

const before = measured()
const recorder = new MetricsRecorder()
const status = new Status(options, { gauges, recorder, health: { phase: 'ready' }, clock })
const observer = broadcast([recorder.observer, status.observer])
for (let second = 0; second < 24 * 3_600; second++) {
  now += 1_000
  quota.remaining--
  observer.lookedUp('miss', null)
  observer.upstreamAnswered('server_error', 0.08)
  observer.requestAnswered('json', 502, 'error', 0.08)
  fail(second, 'UpstreamFailed', 502)
  fail(second, 'InvalidParameter', 400)
}
const bytes = measured() - before

const startedAt = performance.now()
for (let i = 0; i < REQUESTS; i++) {
  if (i % 10 === 0) now++ // ten requests a millisecond
  observer.lookedUp('hit', 1)
  observer.requestAnswered('json', 200, 'hit', 0.001)
}
const nsPerRequest = (1e6 * (performance.now() - startedAt)) / REQUESTS
const report = status.report({ second: -1, failure: 0, clientError: 0 })
console.log(JSON.stringify({ bytes, nsPerRequest, reportBytes: JSON.stringify(report).length }))

/** A thousand failures and two hundred client errors are kept, each with different texts. */
function fail(number, code, statusCode) {
  observer.requestFailed({
    trackingId: `00112233-4455-6677-8899-${String(number).padStart(12, '0')}`,
    traceId: `${number}`.padStart(32, '0'),
    station: `00112233-4455-6677-8899-${String(number).padStart(12, '1')}`,
    code,
    status: statusCode,
    reason: `${number}: ${LONG_TEXT}`,
    cause: new Error(`${number}: ${LONG_TEXT}`),
  })
}

function measured() {
  for (let i = 0; i < 3; i++) globalThis.gc()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}
