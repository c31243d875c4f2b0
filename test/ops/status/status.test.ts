import * as fc from 'fast-check'
import t from 'tap'
import type { CacheResult, Gauges, RequestFailure, UpstreamOutcome } from '../../../src/events.ts'
import { CACHE_RESULTS, UPSTREAM_OUTCOMES } from '../../../src/events.ts'
import type { QuotaNow } from '../../../src/ops/status/burn-down.ts'
import { BurnDown, POINTS } from '../../../src/ops/status/burn-down.ts'
import { NOTHING, readCursor, writeCursor } from '../../../src/ops/status/cursor.ts'
import { RecentErrors, FAILURES_KEPT, REFUSALS_KEPT } from '../../../src/ops/status/recent-errors.ts'
import { Health } from '../../../src/ops/health.ts'
import {
  COLUMNS,
  RequestHistory,
  MINUTES_KEPT,
  SECONDS_KEPT,
} from '../../../src/ops/status/request-history.ts'
import { bucketOf, LATENCY_BOUNDS_MS, percentile } from '../../../src/ops/status/latency-histogram.ts'
import { RollingCounters } from '../../../src/ops/status/rolling-counters.ts'
import { Status, totalsOf } from '../../../src/ops/status/status.ts'
import { RejectionState } from '../../../src/ops/status/upstream-rejection.ts'
import { TestClock } from '../../support/clock.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

await t.test('a ring', async (t) => {
  await t.test('keeps the newest rows, zeros for those in which nothing happened', async (t) => {
    const ring = new RollingCounters(4, 2, 100)
    ring.count(0)
    ring.advance(102)
    ring.count(1)
    ring.count(1)
    ring.advance(103)
    t.strictSame(ring.closed(-1), {
      from: 100,
      rows: [
        [1, 0],
        [0, 0],
        [0, 2],
      ],
    })
    ring.advance(105)
    t.strictSame(ring.closed(-1), {
      from: 102,
      rows: [
        [0, 2],
        [0, 0],
        [0, 0],
      ],
    })
    t.strictSame(ring.closed(103), { from: 104, rows: [[0, 0]] }, 'those after a slot')
    t.strictSame(ring.closed(-1, 1).rows, [[0], [0], [0]], 'the first columns')
  })

  await t.test('forgets all after a gap as long as itself', async (t) => {
    const ring = new RollingCounters(4, 1, 0)
    ring.count(0)
    ring.advance(1_000_000)
    t.strictSame(ring.closed(-1), { from: 999_997, rows: [[0], [0], [0]] })
    t.strictSame(ring.sums(0, 1), [0])
  })

  await t.test('counts in the newest slot what comes for one that is past', async (t) => {
    const ring = new RollingCounters(4, 1, 10)
    ring.advance(12)
    ring.advance(11)
    ring.count(0)
    ring.advance(13)
    t.strictSame(ring.closed(-1), { from: 10, rows: [[0], [0], [1]] })
  })

  await t.test('holds what a list of all events would tell', async () => {
    const steps = fc.array(fc.record({ skip: fc.integer({ min: 0, max: 7 }), count: fc.nat(3) }), {
      maxLength: 40,
    })
    fc.assert(
      fc.property(steps, (steps) => {
        const ring = new RollingCounters(5, 1, 0)
        const all: number[] = [0]
        for (const { skip, count } of steps) {
          for (let i = 0; i < skip; i++) all.push(0)
          ring.advance(all.length - 1)
          for (let i = 0; i < count; i++) ring.count(0)
          all[all.length - 1] = (all.at(-1) as number) + count
        }
        const kept = all.slice(-5)
        const { rows } = ring.closed(-1)
        return (
          JSON.stringify(rows.flat()) === JSON.stringify(kept.slice(0, -1)) &&
          ring.sums(0, 1)[0] === kept.reduce((sum, count) => sum + count, 0)
        )
      }),
    )
  })
})

/** A history's rows as objects without their zeros. */
function told(rows: readonly (readonly number[])[]): Record<string, number>[] {
  return rows.map((row) =>
    Object.fromEntries(row.flatMap((count, i) => (count === 0 ? [] : [[COLUMNS[i] as string, count]]))),
  )
}

await t.test('the history', async (t) => {
  await t.test('tells each second by what became of requests and calls', async (t) => {
    const clock = new TestClock()
    const { observer, ...history } = openHistory(clock)
    observer.requestAnswered?.('json', 200, 'hit', 0.001)
    observer.requestAnswered?.('json', 304, 'hit', 0.001)
    observer.requestAnswered?.('xml', 200, 'stale_error', 0.001)
    observer.upstreamAnswered?.('server_error', 0.1)
    await clock.advance(2_000)
    observer.requestAnswered?.('json', 400, 'none', 0)
    observer.requestAnswered?.('json', 404, 'error', 0)
    observer.requestAnswered?.('json', 429, 'error', 0)
    observer.requestAnswered?.('none', 200, 'none', 0)
    observer.upstreamAnswered?.('not_found', 0.1)
    observer.upstreamAnswered?.('throttled', 0.1)
    await clock.advance(1_000)
    const { from, rows } = history.seconds(-1)
    t.equal(from, Math.floor(Date.UTC(2026, 0, 15, 12) / 1000), 'seconds since the epoch')
    t.strictSame(told(rows), [
      { 'requests.hit': 2, 'requests.stale_error': 1, 'calls.failed': 1 },
      {},
      {
        'requests.error': 1,
        'requests.client_error': 2,
        'requests.other': 1,
        'calls.answered': 1,
        'calls.refused': 1,
      },
    ])
    t.strictSame(history.seconds(from + 1).rows.length, 1, 'a second time, only what is new')
  })

  await t.test('keeps ten minutes by the second and an hour by the minute', async (t) => {
    const clock = new TestClock()
    const { observer, ...history } = openHistory(clock)
    for (let minute = 0; minute < 90; minute++) {
      for (let i = 0; i <= minute; i++) observer.requestAnswered?.('json', 200, 'hit', 0)
      await clock.advance(MINUTE)
    }
    t.equal(history.seconds(-1).rows.length, SECONDS_KEPT - 1)
    const minutes = told(history.minutes(-1).rows).map((row) => row['requests.hit'])
    t.equal(minutes.length, MINUTES_KEPT - 1)
    t.equal(minutes.at(-1), 90)
    t.equal(minutes[0], 90 - minutes.length + 1)
    const perSecond = told(history.seconds(-1).rows)
    t.equal(
      perSecond.filter((row) => row['requests.hit'] !== undefined).length,
      9,
      'one second of each minute',
    )
  })

  await t.test('tells a minute that was running when it was asked last, once it is over', async (t) => {
    const clock = new TestClock()
    const { observer, ...history } = openHistory(clock)
    observer.requestAnswered?.('json', 200, 'hit', 0)
    await clock.advance(59_000)
    const last = history.seconds(-1)
    t.equal(history.minutes(-1).rows.length, 0)
    await clock.advance(1_000)
    const since = last.from + last.rows.length - 1
    t.strictSame(told(history.minutes(since).rows), [{ 'requests.hit': 1 }])
    t.equal(history.minutes(since + 1).rows.length, 0, 'and once only')
  })

  await t.test('does not notice that the wall clock is set', async (t) => {
    const clock = new TestClock()
    const { observer, ...history } = openHistory(clock)
    for (const wall of [0, Date.UTC(2030, 0, 1), Date.UTC(2020, 0, 1)]) {
      clock.setWall(wall)
      observer.requestAnswered?.('json', 200, 'hit', 0)
      await clock.advance(1_000)
    }
    t.strictSame(
      told(history.seconds(-1).rows).map((row) => row['requests.hit']),
      [1, 1, 1],
    )
  })
})

function openHistory(clock: TestClock) {
  const history = new RequestHistory(clock)
  return {
    observer: history.observer,
    latency: () => history.latency(),
    seconds: (since: number) => history.secondsSince(since),
    minutes: (since: number) => history.minutesSince(since),
  }
}

await t.test('latency', async (t) => {
  await t.test('falls into the bucket whose bounds enclose it', async (t) => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 30_000, noNaN: true }), (ms) => {
        const bucket = bucketOf(ms)
        const low = bucket === 0 ? -1 : (LATENCY_BOUNDS_MS[bucket - 1] as number)
        return ms > low * (1 - 1e-6) && ms <= (LATENCY_BOUNDS_MS[bucket] as number) * (1 + 1e-6)
      }),
    )
    t.equal(bucketOf(Number.NaN), 0)
    t.equal(bucketOf(1e9), LATENCY_BOUNDS_MS.length - 1, 'what is too long is in the last')
  })

  await t.test('percentiles are off by a quarter at most', async (t) => {
    const samples = fc.array(fc.double({ min: 1.01, max: 30_000, noNaN: true }), {
      minLength: 1,
      maxLength: 300,
    })
    fc.assert(
      fc.property(samples, fc.constantFrom(0.5, 0.9, 0.99), (samples, quantile) => {
        const buckets = LATENCY_BOUNDS_MS.map(() => 0)
        for (const ms of samples) buckets[bucketOf(ms)] = (buckets[bucketOf(ms)] as number) + 1
        const sorted = samples.toSorted((a, b) => a - b)
        const exact = sorted[Math.ceil(quantile * sorted.length) - 1] as number
        const estimated = percentile(buckets, quantile) as number
        return estimated <= exact * 1.2501 && estimated >= exact / 1.2501
      }),
    )
    t.equal(percentile([0, 0], 0.5), null, 'none without calls')
  })

  await t.test('is that of the last ten minutes', async (t) => {
    const clock = new TestClock()
    const { observer, latency } = openHistory(clock)
    for (let i = 0; i < 100; i++) observer.upstreamAnswered?.('ok', 2)
    await clock.advance(9 * MINUTE)
    for (let i = 0; i < 300; i++) observer.upstreamAnswered?.('ok', 0.05)
    t.equal(latency().calls, 400)
    t.ok(Math.abs((latency().p50Ms as number) - 50) < 12)
    t.ok(Math.abs((latency().p99Ms as number) - 2_000) < 500)
    await clock.advance(2 * MINUTE)
    t.equal(latency().calls, 300)
    t.ok((latency().p99Ms as number) < 65)
  })
})

const lookups = (counts: Partial<Record<CacheResult, number>>) =>
  new Map(CACHE_RESULTS.map((result) => [result, counts[result] ?? 0]))
const calls = (counts: Partial<Record<UpstreamOutcome, number>>) =>
  new Map(UPSTREAM_OUTCOMES.map((outcome) => [outcome, counts[outcome] ?? 0]))

await t.test('totals', async (t) => {
  await t.test('what came from memory at once, of all lookups', async (t) => {
    const totals = totalsOf(
      lookups({ hit: 60, stale: 10, stale_error: 5, coalesced: 15, miss: 8, error: 2 }),
      calls({ ok: 12 }),
    )
    t.equal(totals.lookups, 100)
    t.equal(totals.heldRatio, 0.75)
    t.equal(totals.callsSaved, 88)
  })

  await t.test('no ratio without lookups, and never fewer than no calls saved', async (t) => {
    t.equal(totalsOf(lookups({}), calls({})).heldRatio, null)
    t.equal(totalsOf(lookups({ miss: 3 }), calls({ ok: 2, server_error: 4 })).callsSaved, 0)
  })
})

function openBurnDown(clock: TestClock, per: 'day' | 'month' = 'day') {
  const quota = { limit: 2_400, remaining: 2_400, resetAtMs: Date.UTC(2026, 0, 16) }
  let present: QuotaNow | null = quota
  const burnDown = new BurnDown(() => present, per, clock)
  burnDown.note()
  return {
    burnDown,
    quota,
    without: () => (present = null),
    /** So much is spent in each of so many minutes. */
    spend: async (perMinute: number, minutes: number) => {
      for (let i = 0; i < minutes; i++) {
        await clock.advance(MINUTE)
        quota.remaining -= perMinute
        burnDown.note()
      }
    },
  }
}

await t.test('the burn-down', async (t) => {
  await t.test('says nothing until it knows something', async (t) => {
    const { burnDown, spend, without } = openBurnDown(new TestClock())
    t.equal(burnDown.projection(), null)
    await spend(1, 1)
    t.equal(burnDown.projection(), null)
    await spend(1, 1)
    t.not(burnDown.projection(), null)
    without()
    burnDown.note()
    t.equal(burnDown.projection(), null, 'nor without a quota')
  })

  await t.test('goes on as the last hour: it lasts', async (t) => {
    const { burnDown, spend } = openBurnDown(new TestClock())
    await spend(2, 60)
    const projection = burnDown.projection()
    t.equal(Math.round(projection?.perHour ?? 0), 120)
    t.equal(projection?.remainingAtReset, 2_400 - 12 * 120, '11 hours are left of the day')
    t.equal(projection?.spentAtMs, null)
  })

  await t.test('goes on as the last hour: it does not last', async (t) => {
    const clock = new TestClock()
    const { burnDown, spend } = openBurnDown(clock)
    await spend(10, 60)
    const projection = burnDown.projection()
    t.equal(projection?.remainingAtReset, 1_800 - 11 * 600)
    t.equal(projection?.spentAtMs, clock.wall() + 3 * HOUR)
  })

  await t.test('forgets what was before the last hour', async (t) => {
    const { burnDown, spend } = openBurnDown(new TestClock())
    await spend(20, 30)
    await spend(1, 61)
    t.ok((burnDown.projection()?.perHour ?? 0) < 90)
  })

  await t.test('begins anew with the period', async (t) => {
    const clock = new TestClock()
    const { burnDown, quota, spend } = openBurnDown(clock)
    await spend(2, 60)
    await clock.advance(11 * HOUR)
    Object.assign(quota, { remaining: 2_400, resetAtMs: quota.resetAtMs + 24 * HOUR })
    burnDown.note()
    t.equal(burnDown.projection(), null)
    t.strictSame(burnDown.points(0), [[0, 2_400]])
    t.equal(burnDown.startedAtMs, Date.UTC(2026, 0, 16))
  })

  await t.test('keeps what was left at the end of each part of the period', async (t) => {
    const clock = new TestClock()
    const { burnDown, spend } = openBurnDown(clock)
    t.equal(burnDown.partMs, (24 * HOUR) / POINTS)
    await spend(1, 10)
    const noon = POINTS / 2
    t.strictSame(burnDown.points(0), [
      [noon, 2_396],
      [noon + 1, 2_391],
      [noon + 2, 2_390],
    ])
    t.strictSame(burnDown.points(clock.wall()), [[noon + 2, 2_390]], 'of those that are not over')
  })

  await t.test('knows when a month began', async (t) => {
    const clock = new TestClock()
    clock.setWall(Date.UTC(2026, 1, 20))
    const quota = { limit: 1, remaining: 1, resetAtMs: Date.UTC(2026, 2, 1) }
    const burnDown = new BurnDown(() => quota, 'month', clock)
    burnDown.note()
    t.equal(burnDown.startedAtMs, Date.UTC(2026, 1, 1))
  })
})

const failure = (trackingId: string, more: Partial<RequestFailure> = {}): RequestFailure => ({
  trackingId,
  code: 'UpstreamFailed',
  status: 502,
  reason: 'upstream answered 500',
  cause: undefined,
  ...more,
})

await t.test('failures', async (t) => {
  await t.test('are remembered, the newest first, and no more of them than that', async (t) => {
    const failures = new RecentErrors(new TestClock())
    for (let i = 1; i <= FAILURES_KEPT + 50; i++) failures.observer.requestFailed?.(failure(`id-${i}`))
    t.equal(failures.failed.count, FAILURES_KEPT + 50)
    t.strictSame(
      failures.failed.newest(3).map(({ trackingId }) => trackingId),
      [FAILURES_KEPT + 50, FAILURES_KEPT + 49, FAILURES_KEPT + 48].map((i) => `id-${i}`),
    )
    t.equal(failures.failed.newest(10_000).length, FAILURES_KEPT)
    t.strictSame(failures.find('id-50'), [], 'the oldest are forgotten')
    t.equal(failures.find('id-51').length, 1)
  })

  await t.test('since one that is known', async (t) => {
    const failures = new RecentErrors(new TestClock())
    for (let i = 1; i <= 5; i++) failures.observer.requestFailed?.(failure(`id-${i}`))
    t.strictSame(
      failures.failed.newest(20, 3).map(({ number }) => number),
      [5, 4],
    )
    t.strictSame(failures.failed.newest(20, 5), [])
    t.strictSame(failures.failed.newest(20, 99), [], 'or is of an earlier life')
  })

  await t.test('are not pushed out by what clients get wrong', async (t) => {
    const failures = new RecentErrors(new TestClock())
    failures.observer.requestFailed?.(failure('theirs', { status: 429 }))
    for (let i = 0; i < 5_000; i++) failures.observer.requestFailed?.(failure(`bad-${i}`, { status: 400 }))
    t.strictSame(
      failures.failed.newest(20).map(({ trackingId }) => trackingId),
      ['theirs'],
    )
    t.equal(failures.refused.newest(10_000).length, REFUSALS_KEPT)
    t.equal(failures.refused.count, 5_000)
  })

  await t.test('tell all that helps, in a text of bounded length', async (t) => {
    const clock = new TestClock()
    const failures = new RecentErrors(clock)
    const details = {
      station: 's',
      traceId: 'a'.repeat(32),
      reason: 'r'.repeat(9_999),
      cause: new Error('c'.repeat(9_999)),
    }
    failures.observer.requestFailed?.(failure('x', details))
    failures.observer.requestFailed?.({ ...failure('x'), reason: undefined, cause: 'no error' })
    const [later, first] = failures.find('x')
    t.match(first, { at: clock.wall(), station: 's', traceId: 'a'.repeat(32), number: 1 })
    t.ok((first?.reason?.length ?? 0) <= 300 && (first?.cause?.length ?? 0) <= 300)
    t.match(later, { station: null, traceId: null, reason: null, cause: null, number: 2 })
  })
})

await t.test('a refusal by upstream', async (t) => {
  const clock = new TestClock()
  const state = new RejectionState(clock)
  const began = clock.wall()
  state.observer.upstreamRejected?.({ status: 403, diagnosis: 'the key', waitMs: 5_000 })
  await clock.advance(10_000)
  state.observer.upstreamRejected?.({ status: undefined, diagnosis: 'the quota', waitMs: 5_000 })
  t.strictSame(state.refusal, {
    since: began,
    status: null,
    diagnosis: 'the quota',
    until: clock.wall() + 5_000,
  })
  state.observer.upstreamRecovered?.()
  t.equal(state.refusal, null)
  state.observer.upstreamRejected?.({ status: 403, diagnosis: 'the key', waitMs: 5_000 })
  state.observer.keyRotated?.()
  t.equal(state.refusal, null, 'a new key has not been refused')
})

await t.test('a cursor', async (t) => {
  const cursor = { second: 1_795_375_550, failure: 3, refusal: 0 }
  t.strictSame(readCursor(writeCursor(cursor)), cursor)
  for (const text of [
    '',
    'x',
    '1.2',
    '1.2.3.4',
    '-1.2.3',
    '1.2.3 ',
    '1e3.2.3',
    '9'.repeat(40),
    undefined,
    ['1.2.3'],
  ]) {
    t.strictSame(readCursor(text), NOTHING, String(text))
  }
})

const GAUGES: Gauges = {
  access: () => ({ clients: null, isLimited: false }),
  cache: () => ({ entries: 1, bytes: 1_000 }),
  upstream: () => ({ inFlight: 0, queued: 0, circuit: 'closed', callsPerSecond: 5 }),
  quota: () => ({ limit: 100, remaining: 90, resetAtMs: Date.UTC(2026, 0, 16) }),
  effectiveTtlMs: () => 30_000,
  sharedCacheUp: () => null,
}

function openStatus(clock: TestClock): Status {
  const options = {
    version: '1.2.3',
    nodeVersion: 'v20.0.0',
    cache: { ttlMs: 30_000, maxEntries: 10, maxBytes: 100_000 },
    upstream: { quota: { per: 'day' as const } },
  }
  return new Status(options, { gauges: GAUGES, health: new Health(), clock })
}

await t.test('the report', async (t) => {
  await t.test('read piece by piece tells what it tells as a whole', async (t) => {
    const clock = new TestClock()
    const status = openStatus(clock)
    let since = NOTHING
    const rows: unknown[] = []
    const failures: unknown[] = []
    for (let i = 0; i < 40; i++) {
      status.observer.requestAnswered?.('json', 200, i % 2 === 0 ? 'hit' : 'miss', 0.001)
      if (i % 3 === 0) status.observer.requestFailed?.(failure(`id-${i}`))
      await clock.advance(700)
      const report = status.report(since)
      rows.push(...report.history.seconds.rows)
      failures.unshift(...report.failures)
      since = readCursor(report.cursor)
    }
    const whole = status.report(NOTHING)
    t.strictSame(rows, whole.history.seconds.rows)
    t.strictSame(failures.slice(0, 20), whole.failures)
    t.equal(JSON.stringify(status.report(since)).length < 2_500, true, 'and a piece is small')
  })

  await t.test('takes under 2 MB of memory and 10 ms of time when everything is full', async (t) => {
    const clock = new TestClock()
    const before = process.memoryUsage().arrayBuffers
    const status = openStatus(clock)
    t.ok(process.memoryUsage().arrayBuffers - before < 2_000_000)
    for (let second = 0; second < SECONDS_KEPT + 10; second++) {
      for (const result of CACHE_RESULTS) status.observer.requestAnswered?.('json', 200, result, 0.01)
      for (const outcome of UPSTREAM_OUTCOMES) status.observer.upstreamAnswered?.(outcome, 0.05)
      for (let i = 0; i < 3; i++)
        status.observer.requestFailed?.(failure(`id-${i}`, { status: 400 + i * 50 }))
      await clock.advance(1_000)
    }
    const times = Array.from({ length: 15 }, () => {
      const start = performance.now()
      JSON.stringify(status.report(NOTHING))
      return performance.now() - start
    })
    t.ok(
      (times.toSorted((a, b) => a - b)[7] as number) < 10,
      `the median of ${times.map((ms) => ms.toFixed(1)).join(', ')} ms`,
    )
    t.ok(JSON.stringify(status.report(NOTHING)).length < 100_000)
  })
})
