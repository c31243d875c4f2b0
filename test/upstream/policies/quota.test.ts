import t from 'tap'
import { QuotaPolicy } from '../../../src/upstream/policies/quota.ts'
import { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { settled, TestClock } from '../../support/clock.ts'
import type { Ending, Failure } from '../doubles.ts'
import {
  answering,
  broken,
  CALLER,
  ended,
  failing,
  failure,
  HOLDER,
  REFRESH,
  ScriptedSource,
  unreached,
  watch,
} from '../doubles.ts'

const MIDNIGHT = Date.UTC(2026, 0, 16)

interface Spent {
  readonly percent: number
  readonly remaining: number
  readonly resetAt: string
}

function setup(limit: number, isRationing = () => false) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const ledger = new LocalQuota({ limit, per: 'day' }, clock)
  const events: Spent[] = []
  const quotaSpent = (percent: number, remaining: number, resetAt: Date) =>
    void events.push({ percent, remaining, resetAt: resetAt.toISOString() })
  const heldBack: string[] = []
  const observer = {
    quotaSpent,
    clientLimited: () => {},
    upstreamHeldBack: (by: string) => void heldBack.push(by),
  }
  const policy = new QuotaPolicy({ ledger, pacing: { isRationing }, observer })
  const source = policy.policy(inner.source)
  const spend = async (calls: number, how: Ending | null = null) => {
    inner.always = how === null ? answering : failing(how)
    for (let i = 0; i < calls; i++) await ended(source('a', CALLER))
  }
  return { clock, inner, ledger, events, heldBack, source, spend }
}

await t.test('a call is charged before it is sent, so no more than the limit are in flight', async (t) => {
  const { source, inner, ledger, heldBack } = setup(3)
  const calls = Array.from({ length: 5 }, (_, i) => watch(source(`${i}`, CALLER)))
  await settled()
  t.equal(inner.sent.length, 3)
  t.equal(ledger.spent, 3)
  t.strictSame(
    calls.map(({ state }) => state),
    ['pending', 'pending', 'pending', 'QuotaExhausted', 'QuotaExhausted'],
  )
  t.strictSame(heldBack, ['quota', 'quota'])
})

const FAILURES: readonly Failure[] = [
  'bad_request',
  'not_found',
  'throttled',
  'refused',
  'server_error',
  'invalid',
  'timeout',
  'network',
]

for (const [name, error, spent] of [
  ...FAILURES.map((outcome) => [`a call that ended in ${outcome}`, failure(outcome), 1] as const),
  ['a call whose connection broke', broken(), 1],
  ['a call that met a defect', new TypeError('a mistake'), 1],
  ['a call whose connection was refused', unreached(), 0],
  ['a call that could not connect in time', failure('timeout', { sent: false }), 0],
] as const) {
  await t.test(`${name} is ${spent === 1 ? 'charged' : 'refunded'}`, async (t) => {
    const { source, inner, ledger } = setup(10)
    inner.always = failing(() => error)
    const call = await ended(source('a', CALLER))
    t.equal(ledger.spent, spent)
    t.equal(call.error, error instanceof TypeError ? null : error)
  })
}

await t.test('a refund after the end of its period changes nothing in the next', async (t) => {
  const { source, inner, ledger, clock } = setup(2)
  const unsent = watch(source('a', CALLER))
  await clock.advance(MIDNIGHT - clock.wall())
  const next = watch(source('b', CALLER))
  t.equal(ledger.spent, 1)
  await inner.sent[0]?.fail(unreached())
  t.equal(unsent.state, 'UpstreamFailed')
  t.equal(ledger.spent, 1, 'the call of the new period stays charged')
  await inner.sent[1]?.answer()
  t.equal(next.state, 'ok')
})

await t.test('a call beyond the quota ends in 503 with the time until the next period', async (t) => {
  const { source, clock, spend, ledger } = setup(1)
  await spend(1)
  const denied = await ended(source('b', CALLER))
  t.match(denied.error, { code: 'QuotaExhausted', status: 503, reason: /spent/ })
  t.equal(denied.error?.retryAfterMs, ledger.resetAtMs - clock.wall())
  await clock.advance(MIDNIGHT - clock.wall())
  t.equal((await ended(source('b', CALLER))).state, 'ok')
})

await t.test('while calls are rationed, one for a station with a stale answer waits longer', async (t) => {
  let rationing = true
  const { source, inner } = setup(2_400, () => rationing)
  inner.always = answering
  let sent = 0
  while ((await ended(source('a', HOLDER))).state === 'ok') sent++
  t.ok(sent > 0 && sent < 120, String(sent))
  t.match((await ended(source('a', REFRESH))).error, { code: 'QuotaExhausted', reason: /pacing/ })
  t.equal((await ended(source('new', CALLER))).state, 'ok', 'the reserve')
  while ((await ended(source('new', CALLER))).state === 'ok') sent++
  const withoutMs = (await ended(source('new', CALLER))).error?.retryAfterMs ?? Number.NaN
  const withStaleMs = (await ended(source('a', REFRESH))).error?.retryAfterMs ?? Number.NaN
  t.ok(withoutMs > 0 && withoutMs < 20_000, `${withoutMs} ms: 2,280 calls are left for half a day`)
  t.ok(withStaleMs > 10 * withoutMs, `${withStaleMs} ms`)
  rationing = false
  t.equal((await ended(source('a', HOLDER))).state, 'ok')
})

await t.test('an event is emitted once each at 50, 80, 95 and 100 percent of a period', async (t) => {
  const { events, clock, spend } = setup(100)
  const resetAt = '2026-01-16T00:00:00.000Z'
  await spend(49)
  t.strictSame(events, [])
  await spend(61)
  t.strictSame(events, [
    { percent: 50, remaining: 50, resetAt },
    { percent: 80, remaining: 20, resetAt },
    { percent: 95, remaining: 5, resetAt },
    { percent: 100, remaining: 0, resetAt },
  ])
  await clock.advance(MIDNIGHT - clock.wall())
  await spend(55)
  t.strictSame(events.slice(4), [{ percent: 50, remaining: 50, resetAt: '2026-01-17T00:00:00.000Z' }])
})

await t.test('one call that passes several thresholds emits one event for the highest', async (t) => {
  const { events, spend } = setup(2)
  await spend(2)
  t.strictSame(
    events.map(({ percent }) => percent),
    [50, 100],
  )
})

await t.test('a call that is refunded and made again does not emit an event again', async (t) => {
  const { events, spend } = setup(4)
  await spend(1)
  await spend(3, unreached)
  await spend(1)
  t.strictSame(
    events.map(({ percent }) => percent),
    [50],
  )
})
