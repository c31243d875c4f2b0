import t from 'tap'
import { COLUMNS, MAX_MINUTES, MAX_SECONDS, RequestHistory } from '../../../src/ops/status/request-history.ts'
import { TestClock } from '../../support/clock.ts'

const MINUTE = 60_000

/** Rows as objects without their zeros. */
function asObjects(rows: readonly (readonly number[])[]): Record<string, number>[] {
  return rows.map((row) =>
    Object.fromEntries(row.flatMap((count, i) => (count === 0 ? [] : [[COLUMNS[i] as string, count]]))),
  )
}

function setup() {
  const clock = new TestClock()
  const history = new RequestHistory(clock)
  const { observer } = history
  return {
    clock,
    history,
    observer,
    hit: () => observer.requestAnswered?.('json', 200, 'hit', 0.001),
    hits: (rows: readonly (readonly number[])[]) => asObjects(rows).map((row) => row['requests.hit']),
  }
}

await t.test('the history counts requests and calls of each second by kind', async (t) => {
  const { clock, history, observer, hit } = setup()
  hit()
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
  const { from, rows } = history.secondsSince(-1)
  t.equal(from, Math.floor(Date.UTC(2026, 0, 15, 12) / 1000), 'seconds since the epoch')
  t.strictSame(asObjects(rows), [
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
})

await t.test('the history returns only the seconds after a cursor', async (t) => {
  const { clock, history, hit } = setup()
  hit()
  await clock.advance(3_000)
  const { from } = history.secondsSince(-1)
  t.strictSame(history.secondsSince(from + 1).rows.length, 1)
})

await t.test('the history keeps ten minutes by the second and an hour by the minute', async (t) => {
  const { clock, history, hit, hits } = setup()
  for (let minute = 0; minute < 90; minute++) {
    for (let i = 0; i <= minute; i++) hit()
    await clock.advance(MINUTE)
  }
  const seconds = hits(history.secondsSince(-1).rows)
  t.equal(seconds.length, MAX_SECONDS - 1)
  t.strictSame(
    seconds.filter((count) => count !== undefined),
    [82, 83, 84, 85, 86, 87, 88, 89, 90],
    'all hits of a minute are in one second',
  )
  t.strictSame(
    hits(history.minutesSince(-1).rows),
    Array.from({ length: MAX_MINUTES - 1 }, (_, i) => 90 - MAX_MINUTES + 2 + i),
  )
})

await t.test('the history returns a minute once, after it has ended', async (t) => {
  const { clock, history, hit, hits } = setup()
  hit()
  await clock.advance(59_000)
  const last = history.secondsSince(-1)
  t.equal(history.minutesSince(-1).rows.length, 0)
  await clock.advance(1_000)
  const since = last.from + last.rows.length - 1
  t.strictSame(hits(history.minutesSince(since).rows), [1])
  t.equal(history.minutesSince(since + 1).rows.length, 0)
})

await t.test('the history does not depend on changes of the wall clock', async (t) => {
  const { clock, history, hit, hits } = setup()
  for (const wall of [0, Date.UTC(2030, 0, 1), Date.UTC(2020, 0, 1)]) {
    clock.setWall(wall)
    hit()
    await clock.advance(1_000)
  }
  t.strictSame(hits(history.secondsSince(-1).rows), [1, 1, 1])
})

await t.test('the history measures the latency of the last ten minutes', async (t) => {
  const { clock, history, observer } = setup()
  for (let i = 0; i < 100; i++) observer.upstreamAnswered?.('ok', 2)
  await clock.advance(9 * MINUTE)
  for (let i = 0; i < 300; i++) observer.upstreamAnswered?.('ok', 0.05)
  const rounded = () => {
    const { calls, p50Ms, p99Ms } = history.latency()
    return [calls, Math.round((p50Ms ?? 0) / 10) * 10, Math.round((p99Ms ?? 0) / 100) * 100]
  }
  t.strictSame(rounded(), [400, 50, 2_000])
  await clock.advance(2 * MINUTE)
  t.strictSame(rounded(), [300, 50, 100])
})
