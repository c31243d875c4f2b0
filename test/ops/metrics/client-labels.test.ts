import t from 'tap'
import type { Gauges } from '../../../src/gauges.ts'
import { MetricsRecorder } from '../../../src/ops/metrics/metrics-recorder.ts'
import { createMetrics } from '../../../src/ops/metrics/metrics.ts'

await t.test('a client that is removed and added again is counted from zero', async (t) => {
  const gauges: Gauges = {
    access: () => ({ clients: ['web', 'old'], isLimited: false }),
    cache: () => ({ entries: 0, bytes: 0 }),
    waiting: () => ({ bytes: 0, limitBytes: 1 }),
    upstream: () => ({ inFlight: 0, queued: 0, circuit: 'closed', callsPerSecond: null }),
    quota: () => null,
    pacing: () => null,
    live: () => ({ stream: 0, long_poll: 0, maxStreams: 10, stations: 0 }),
    effectiveTtlMs: () => 0,
    sharedCacheUp: () => null,
    pendingPurges: () => 0,
  }
  const recorder = new MetricsRecorder()
  const { observer } = recorder
  const { render } = createMetrics(recorder, gauges, { version: '1', nodeVersion: '1' })
  for (const name of ['web', 'old', null]) observer.clientIdentified?.(name)
  observer.clientsChanged?.(['web'])
  const samples = [
    ...(await render()).toString().matchAll(/^evproxy_client_requests_total\{client="(\w+)"\} (\d+)$/gm),
  ]
  t.strictSame(Object.fromEntries(samples.map(([, client, count]) => [client, count])), {
    none: '1',
    old: '0',
    web: '1',
  })
})
