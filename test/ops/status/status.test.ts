import t from 'tap'
import type { CacheResult, Gauges, Observer, UpstreamOutcome } from '../../../src/events.ts'
import { broadcast, CACHE_RESULTS, UPSTREAM_OUTCOMES } from '../../../src/events.ts'
import { Health } from '../../../src/ops/health.ts'
import { MetricsRecorder } from '../../../src/ops/metrics/metrics-recorder.ts'
import { readCursor, START } from '../../../src/ops/status/cursor.ts'
import { MAX_SECONDS } from '../../../src/ops/status/request-history.ts'
import { Status, totalsOf } from '../../../src/ops/status/status.ts'
import { TestClock } from '../../support/clock.ts'
import { failure } from './failure.ts'

const lookups = (counts: Partial<Record<CacheResult, number>>) =>
  new Map(CACHE_RESULTS.map((result) => [result, counts[result] ?? 0]))
const calls = (counts: Partial<Record<UpstreamOutcome, number>>) =>
  new Map(UPSTREAM_OUTCOMES.map((outcome) => [outcome, counts[outcome] ?? 0]))

await t.test('totals contain the cache hit ratio, stale answers included, and the calls saved', async (t) => {
  const totals = totalsOf(
    lookups({ hit: 60, stale: 10, stale_error: 5, coalesced: 15, miss: 8, error: 2 }),
    calls({ ok: 12 }),
  )
  t.match(totals, { lookups: 100, heldRatio: 0.75, callsSaved: 88 })
})

await t.test('totals have no hit ratio without lookups', async (t) => {
  t.equal(totalsOf(lookups({}), calls({})).heldRatio, null)
})

await t.test('totals never have a negative number of calls saved', async (t) => {
  t.equal(totalsOf(lookups({ miss: 3 }), calls({ ok: 2, server_error: 4 })).callsSaved, 0)
})

const GAUGES: Gauges = {
  access: () => ({ clients: null, isLimited: false }),
  cache: () => ({ entries: 1, bytes: 1_000 }),
  upstream: () => ({ inFlight: 0, queued: 0, circuit: 'closed', callsPerSecond: 5 }),
  quota: () => ({ limit: 100, remaining: 90, resetAtMs: Date.UTC(2026, 0, 16) }),
  live: () => ({ stream: 0, long_poll: 0, stations: 0 }),
  effectiveTtlMs: () => 30_000,
  sharedCacheUp: () => null,
}

function setup(): { clock: TestClock; status: Status; observer: Observer } {
  const clock = new TestClock()
  const options = {
    version: '1.2.3',
    nodeVersion: 'v20.0.0',
    cache: { ttlMs: 30_000, maxEntries: 10, maxBytes: 100_000 },
    upstream: { quota: { per: 'day' as const } },
  }
  const recorder = new MetricsRecorder()
  const status = new Status(options, { gauges: GAUGES, recorder, health: new Health(), clock })
  return { clock, status, observer: broadcast([recorder.observer, status.observer]) }
}

await t.test('successive reports contain the same history and failures as one full report', async (t) => {
  const { clock, status, observer } = setup()
  let since = START
  const rows: unknown[] = []
  const failures: unknown[] = []
  for (let i = 0; i < 40; i++) {
    observer.requestAnswered('json', 200, i % 2 === 0 ? 'hit' : 'miss', 0.001)
    if (i % 3 === 0) observer.requestFailed(failure(`id-${i}`))
    await clock.advance(700)
    const report = status.report(since)
    rows.push(...report.history.seconds.rows)
    failures.unshift(...report.failures)
    since = readCursor(report.cursor)
  }
  const full = status.report(START)
  t.strictSame(rows, full.history.seconds.rows)
  t.strictSame(failures.slice(0, 20), full.failures)
  const { length } = JSON.stringify(status.report(since))
  t.ok(length < 2_500, `a report without news has ${length} characters`)
})

await t.test('a report contains the totals that the recorder counts', async (t) => {
  const { status, observer } = setup()
  observer.lookedUp('hit', 1)
  observer.lookedUp('miss', 0)
  observer.upstreamAnswered('ok', 0.1)
  t.match(status.report(START).totals, {
    lookups: 2,
    results: { hit: 1, miss: 1 },
    calls: 1,
    outcomes: { ok: 1 },
  })
})

/** Fills the history, the histogram and both lists of errors. */
async function fill({ clock, observer }: ReturnType<typeof setup>): Promise<void> {
  for (let second = 0; second < MAX_SECONDS + 10; second++) {
    for (const result of CACHE_RESULTS) observer.requestAnswered('json', 200, result, 0.01)
    for (const outcome of UPSTREAM_OUTCOMES) observer.upstreamAnswered(outcome, 0.05)
    for (let i = 0; i < 3; i++) observer.requestFailed(failure(`id-${i}`, { status: 400 + i * 50 }))
    await clock.advance(1_000)
  }
}

await t.test('a full report takes under 10 ms and 100 kB when all is filled', async (t) => {
  const full = setup()
  await fill(full)
  const times = Array.from({ length: 15 }, () => {
    const start = performance.now()
    JSON.stringify(full.status.report(START))
    return performance.now() - start
  })
  const median = times.toSorted((a, b) => a - b)[7] as number
  t.ok(median < 10, `the median of ${times.map((ms) => ms.toFixed(1)).join(', ')} ms`)
  t.ok(JSON.stringify(full.status.report(START)).length < 100_000)
})

await t.test('the status keeps less than 2 MB of buffers', async (t) => {
  const before = process.memoryUsage().arrayBuffers
  const { status } = setup()
  t.ok(process.memoryUsage().arrayBuffers - before < 2_000_000)
  t.ok(status)
})
