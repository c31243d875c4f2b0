import { ok } from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { LatencyHistogram } from '../../../src/ops/status/latency-histogram.ts'

const NO_CALLS = { calls: 0, p50Ms: null, p99Ms: null }

await t.test('a latency histogram has no percentiles without calls', async (t) => {
  t.strictSame(new LatencyHistogram(7).read(7), NO_CALLS)
})

await t.test('a latency histogram is at most 1 % off the exact percentiles', async () => {
  const samples = fc.array(fc.double({ min: 0.1, max: 300_000, noNaN: true }), {
    minLength: 1,
    maxLength: 100,
  })
  fc.assert(
    fc.property(samples, (samples) => {
      const histogram = new LatencyHistogram(0)
      for (const ms of samples) histogram.record(0, ms)
      const sorted = samples.toSorted((a, b) => a - b)
      const exact = (quantile: number) => sorted[Math.ceil(quantile * sorted.length) - 1] as number
      const { p50Ms, p99Ms } = histogram.read(0)
      const isClose = (measured: number | null, expected: number) =>
        measured !== null && Math.abs(measured - expected) <= 0.01 * expected + 0.001
      ok(isClose(p50Ms, exact(0.5)), `p50 ${p50Ms}, expected ${exact(0.5)}`)
      ok(isClose(p99Ms, exact(0.99)), `p99 ${p99Ms}, expected ${exact(0.99)}`)
    }),
    { numRuns: 50 },
  )
})

await t.test('a latency histogram counts latencies beyond its bounds as its bounds', async (t) => {
  const histogram = new LatencyHistogram(0)
  histogram.record(0, 0)
  histogram.record(0, 1e9)
  const { calls, p50Ms, p99Ms } = histogram.read(0)
  t.equal(calls, 2)
  t.equal(p50Ms, 0.001)
  t.ok(Math.abs((p99Ms ?? 0) - 600_000) < 6_000, `${p99Ms}`)
})

await t.test('a latency histogram drops calls after ten minutes', async (t) => {
  const histogram = new LatencyHistogram(100)
  histogram.record(100, 2_000)
  histogram.record(109, 50)
  t.equal(histogram.read(109).calls, 2)
  t.equal(histogram.read(110).calls, 1)
  t.strictSame(histogram.read(1_000_000), NO_CALLS, 'after a gap longer than the window')
})
