import t from 'tap'
import type { CacheResult, Observer, UpstreamOutcome } from '../../../src/events.ts'
import type { Gauges } from '../../../src/gauges.ts'
import { CACHE_RESULTS, UPSTREAM_OUTCOMES } from '../../../src/events.ts'
import { Health } from '../../../src/ops/health.ts'
import { MetricsRecorder } from '../../../src/ops/metrics/metrics-recorder.ts'
import { readCursor, START } from '../../../src/ops/status/cursor.ts'
import { ErrorSummary, MAX_SENDERS } from '../../../src/ops/status/error-summary.ts'
import { MAX_TEXT_LENGTH } from '../../../src/ops/status/truncated.ts'
import { MAX_SECONDS } from '../../../src/ops/status/request-history.ts'
import { Status, totalsOf } from '../../../src/ops/status/status.ts'
import { TestClock } from '../../support/clock.ts'
import { failure } from './failure.ts'
import { broadcast } from '../../support/broadcast.ts'

const lookups = (counts: Partial<Record<CacheResult, number>>) =>
  new Map(CACHE_RESULTS.map((result) => [result, counts[result] ?? 0]))
const calls = (counts: Partial<Record<UpstreamOutcome, number>>) =>
  new Map(UPSTREAM_OUTCOMES.map((outcome) => [outcome, counts[outcome] ?? 0]))

await t.test('totals contain the cache hit ratio, stale answers included, and the calls saved', async (t) => {
  const totals = totalsOf(
    lookups({ hit: 60, stale: 10, stale_error: 5, coalesced: 15, miss: 8, error: 2 }),
    calls({ ok: 12 }),
  )
  t.match(totals, { lookups: 100, heldRatio: 0.75, callsSaved: 86 })
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
  waiting: () => ({ bytes: 15_000, limitBytes: 1_000_000 }),
  upstream: () => ({ inFlight: 0, queued: 0, circuit: 'closed', callsPerSecond: 5 }),
  quota: () => ({ limit: 100, remaining: 90, resetAtMs: Date.UTC(2026, 0, 16) }),
  pacing: () => null,
  live: () => ({ stream: 2, long_poll: 1, maxStreams: 10, stations: 20 }),
  effectiveTtlMs: () => 30_000,
  sharedCacheUp: () => null,
  pendingPurges: () => 0,
}

function setup(): { clock: TestClock; status: Status; observer: Observer } {
  const clock = new TestClock()
  const options = {
    version: '1.2.3',
    nodeVersion: 'v20.0.0',
    instance: 'pod-1',
    settings: { CACHE_TTL: '30s' },
    cache: { ttlMs: 30_000, staleIfErrorMs: 300_000, maxEntries: 10, maxBytes: 100_000 },
    upstream: { quota: { per: 'day' as const } },
  }
  const recorder = new MetricsRecorder()
  const status = new Status(options, { gauges: GAUGES, recorder, health: new Health(), clock })
  return { clock, status, observer: broadcast([recorder.observer, ...status.observers]) }
}

await t.test('a report has the open streams and the events sent since the start', async (t) => {
  const { status, observer } = setup()
  observer.eventSent('availability')
  t.strictSame(status.report(START).live, {
    stream: 2,
    long_poll: 1,
    maxStreams: 10,
    stations: 20,
    events: { availability: 1, problem: 0 },
  })
})

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

await t.test('a report has the outage, its next probe and the end of stale answers', async (t) => {
  const { clock, status, observer } = setup()
  t.match(status.report(START).upstream, { outage: null, staleUntil: null })
  const since = clock.wall()
  observer.circuitChanged('open', { lastError: 'upstream answered 500', probeInMs: 1_000 })
  await clock.advance(1_000)
  observer.circuitChanged('half_open', {})
  t.match(status.report(START).upstream.outage, { since, reason: 'upstream answered 500', probeAt: null })
  observer.circuitChanged('open', { lastError: 'no answer in time', probeInMs: 2_000 })
  t.match(status.report(START).upstream, {
    outage: { since, reason: 'no answer in time', probeAt: clock.wall() + 2_000 },
    staleUntil: since + 30_000 + 300_000,
  })
  observer.circuitChanged('closed', {})
  t.match(status.report(START).upstream, { outage: null, staleUntil: null })
})

await t.test('a report lists changes of states once, the newest first', async (t) => {
  const { status, observer } = setup()
  const first = status.report(START)
  t.match(first.changes, [{ change: 'started' }])
  observer.circuitChanged('open', { lastError: 'upstream answered 500' })
  observer.circuitChanged('half_open', {})
  observer.circuitChanged('open', {})
  observer.circuitChanged('closed', {})
  observer.keyReloadFailed('x'.repeat(500))
  const { changes, cursor } = status.report(readCursor(first.cursor))
  t.match(changes, [
    { change: 'upstream API key not reloaded', detail: 'x'.repeat(200) },
    { change: 'circuit breaker closed', detail: null },
    { change: 'circuit breaker opened', detail: 'upstream answered 500' },
  ])
  t.equal(changes.length, 3)
  t.strictSame(status.report(readCursor(cursor)).changes, [])
})

await t.test('a report groups errors by code and client errors by sender', async (t) => {
  const { status, observer } = setup()
  for (let i = 0; i < 5; i++) observer.requestFailed(failure(`a${i}`))
  const clientError = { status: 400, code: 'InvalidParameter', reason: 'rule' }
  for (let i = 0; i < 3; i++)
    observer.requestFailed(failure('b', { ...clientError, client: 'web', userAgent: 'x' }))
  observer.requestFailed(failure('c', { ...clientError, clientAddress: '203.0.113.0/24' }))
  const { errorGroups, errorSenders } = status.report(START)
  t.match(errorGroups, [
    { code: 'UpstreamFailed', status: 502, count: 5, lastReason: 'upstream answered 500' },
    { code: 'InvalidParameter', status: 400, count: 4, lastReason: 'rule' },
  ])
  t.match(errorSenders, [
    { client: 'web', address: null, userAgent: 'x', count: 3, lastCode: 'InvalidParameter' },
    { client: null, address: '203.0.113.0/24', userAgent: null, count: 1 },
  ])
})

await t.test('a report keeps at most 100 senders, those with the latest errors', async (t) => {
  const summary = new ErrorSummary(new TestClock())
  const fail = (userAgent: string) =>
    summary.observer.requestFailed?.(failure('x', { status: 400, userAgent }))
  for (let i = 0; i < MAX_SENDERS; i++) fail(`agent ${i}`)
  fail('agent 0')
  fail('one more')
  const agents = summary.senders(1_000).map(({ userAgent }) => userAgent)
  t.equal(agents.length, MAX_SENDERS)
  t.strictSame(
    [agents.includes('agent 0'), agents.includes('agent 1'), agents.includes('one more')],
    [true, false, true],
  )
})

await t.test('a sender is kept by the beginning of its User-Agent, however long that is', async (t) => {
  const summary = new ErrorSummary(new TestClock())
  const begin = 'x'.repeat(MAX_TEXT_LENGTH)
  for (const userAgent of [begin.slice(1), begin, `${begin}a`, `${begin}${'b'.repeat(10_000)}`])
    summary.observer.requestFailed?.(failure('x', { status: 400, userAgent }))
  t.strictSame(
    summary.senders(10).map(({ userAgent, count }) => [userAgent, count]),
    [
      [begin, 3],
      [begin.slice(1), 1],
    ],
  )
})

await t.test('every report has the settings in force', async (t) => {
  const { status } = setup()
  const { settings, instance, cursor } = status.report(START)
  const inForce = { inForce: { CACHE_TTL: '30s' }, changedAt: null, problem: null }
  t.strictSame([settings, instance], [inForce, 'pod-1'])
  t.strictSame(status.report(readCursor(cursor)).settings, inForce)
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
