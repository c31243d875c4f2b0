import t from 'tap'
import { withPolicies } from '../../src/upstream/policies.ts'
import { LocalQuota } from '../../src/upstream/state/quota-ledger.ts'
import { TestClock } from '../support/clock.ts'
import type { Ending } from './doubles.ts'
import { answering, broken, CALLER, ended, failing, failure, ScriptedSource, watch } from './doubles.ts'
import { broadcast } from '../support/broadcast.ts'

/** All policies; with a limit of 0 calls there is no quota. */
function setup({ perSecond = 0, queueTimeoutMs = 0, limit = 1_000 } = {}) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const ledger = new LocalQuota({ limit, per: 'day' }, clock)
  const stack = withPolicies(
    { perSecond, queueTimeoutMs, timeoutMs: 3_000 },
    {
      source: inner.source,
      quota: limit === 0 ? null : { ledger, pacing: { isRationing: () => false } },
      stores: null,
      apiKey: () => 'key',
      clock,
      observer: broadcast([]),
      random: () => 0,
    },
  )
  const end = async (how: Ending) => {
    inner.always = failing(how)
    const call = watch(stack.source('a', CALLER))
    await clock.advance(20)
    return call
  }
  return { ...stack, clock, inner, ledger, end }
}

const status = (upstreamStatus: number) => () => failure('server_error', { upstreamStatus })

await t.test('a second attempt takes a token and is charged like the first', async (t) => {
  const { end, inner, ledger, source } = setup({ perSecond: 3 })
  t.equal((await end(broken)).state, 'UpstreamFailed')
  t.equal(inner.sent.length, 2)
  t.equal(ledger.spent, 2)
  inner.always = answering
  t.equal((await ended(source('b', CALLER))).state, 'ok')
  t.equal((await ended(source('c', CALLER))).state, 'TooManyRequests', 'all three tokens are taken')
})

for (const [name, options] of [
  ['token', { perSecond: 1, queueTimeoutMs: 60_000 }],
  ['quota', { limit: 1 }],
] as const) {
  await t.test(`a second attempt without a ${name} is not made`, async (t) => {
    const { end, inner, ledger, clock, queued } = setup(options)
    const error = broken()
    t.equal((await end(() => error)).error, error, 'the first error is thrown')
    t.equal(queued(), 0)
    await clock.advance(60_000)
    t.equal(inner.sent.length, 1)
    t.equal(ledger.spent, 1)
  })

  await t.test(`a call without a ${name} never opens the circuit`, async (t) => {
    const { source, inner, circuit } = setup({ ...options, queueTimeoutMs: 0 })
    inner.always = answering
    for (let i = 0; i < 100; i++) await ended(source('a', CALLER))
    t.equal(circuit(), 'closed')
    t.equal(inner.sent.length, 1)
  })
}

await t.test('a call without a token is not charged', async (t) => {
  const { source, ledger, inner } = setup({ perSecond: 1 })
  inner.always = answering
  await ended(source('a', CALLER))
  t.equal((await ended(source('b', CALLER))).state, 'TooManyRequests')
  t.equal(ledger.spent, 1)
})

await t.test('a call that queues is charged when it is sent', async (t) => {
  const { source, ledger, inner, clock, queued } = setup({ perSecond: 1, queueTimeoutMs: 2_000 })
  inner.always = answering
  await ended(source('a', CALLER))
  const waiting = watch(source('b', CALLER))
  t.equal(queued(), 1)
  t.equal(ledger.spent, 1)
  await clock.advance(1_020)
  t.equal(queued(), 0)
  t.equal(waiting.state, 'ok')
  t.equal(ledger.spent, 2)
})

for (const [name, how, times, code] of [
  ['an open circuit', status(500), 5, 'UpstreamUnavailable'],
  ['a cool-down after 429', () => failure('throttled'), 1, 'TooManyRequests'],
  ['a cool-down after 401 or 403', () => failure('refused'), 1, 'UpstreamRefused'],
] as const) {
  await t.test(`${name} takes no tokens and spends no quota`, async (t) => {
    const { end, inner, ledger, source, clock, queued } = setup({ perSecond: 6, queueTimeoutMs: 1_000 })
    for (let i = 0; i < times; i++) await end(how)
    const states = new Set<string>()
    for (let i = 0; i < 50; i++) states.add((await ended(source('a', CALLER))).state)
    t.strictSame([...states], [code])
    t.equal(ledger.spent, times)
    t.equal(queued(), 0)
    inner.always = answering
    await clock.advance(5_000)
    t.equal((await ended(source('a', CALLER))).state, 'ok', 'tokens are left for afterwards')
  })
}

await t.test('a rejection leaves a half-open circuit half-open until the cool-down is over', async (t) => {
  const { end, inner, circuit, clock, source } = setup()
  for (let i = 0; i < 5; i++) await end(status(500))
  t.equal(circuit(), 'open')
  await clock.advance(1_000)
  await end(() => failure('throttled'))
  t.equal(circuit(), 'half_open')
  t.equal((await ended(source('a', CALLER))).state, 'TooManyRequests', 'the cool-down delays the probe')
  await clock.advance(5_000)
  inner.always = answering
  t.equal((await ended(source('a', CALLER))).state, 'ok')
  t.equal(circuit(), 'closed')
})

await t.test('a failure does not count for the circuit if the second attempt succeeds', async (t) => {
  const { source, inner, circuit, clock } = setup()
  const states = []
  for (let i = 0; i < 9; i++) {
    const call = watch(source('a', CALLER))
    await inner.last.fail(broken())
    await clock.advance(20)
    await inner.last.answer()
    states.push(call.state)
  }
  t.strictSame([...new Set(states)], ['ok'])
  t.equal(circuit(), 'closed')
})

await t.test('without a quota no call is charged', async (t) => {
  const { source, inner, clock, ledger } = setup({ limit: 0 })
  inner.always = answering
  for (let i = 0; i < 1_000; i++) watch(source('a', CALLER))
  await clock.advance(0)
  t.equal(inner.sent.length, 1_000)
  t.equal(ledger.spent, 0)
})

await t.test('a call that the quota cannot afford takes no token and does not wait', async (t) => {
  const { source, inner, clock, ledger, queued } = setup({ perSecond: 5, queueTimeoutMs: 60_000, limit: 3 })
  inner.always = answering
  const calls = Array.from({ length: 50 }, (_, i) => watch(source(`${i}`, CALLER)))
  await ended(Promise.resolve())
  t.strictSame(
    calls.slice(3).map(({ error }) => [error?.code, error?.retryAfterMs]),
    calls.slice(3).map(() => ['QuotaExhausted', ledger.resetAtMs - clock.wall()]),
  )
  t.equal(inner.sent.length, 3)
  t.equal(queued(), 0)
  const later = new Set<string>()
  for (let i = 0; i < 100; i++) later.add((await ended(source('a', CALLER))).state)
  t.strictSame([...later], ['QuotaExhausted'])
  ledger.refund(ledger.period)
  t.equal((await ended(source('b', CALLER))).state, 'ok', 'a token is left')
})

await t.test('calls in the queue count for those that come after them', async (t) => {
  const { source, inner, clock, ledger } = setup({ perSecond: 1, queueTimeoutMs: 60_000, limit: 4 })
  inner.always = answering
  const calls = Array.from({ length: 6 }, (_, i) => watch(source(`${i}`, CALLER)))
  await ended(Promise.resolve())
  t.strictSame(
    calls.map(({ state }) => state),
    ['ok', 'pending', 'pending', 'pending', 'QuotaExhausted', 'QuotaExhausted'],
  )
  t.equal(ledger.spent, 1)
  await clock.advance(10_000)
  t.equal(ledger.spent, 4)
  t.equal(calls[3]?.state, 'ok')
})

await t.test('a call that the rate limit rejects leaves the quota to the next', async (t) => {
  const { source, inner, clock } = setup({ perSecond: 1, queueTimeoutMs: 0, limit: 2 })
  inner.always = answering
  t.equal((await ended(source('a', CALLER))).state, 'ok')
  t.equal((await ended(source('a', CALLER))).state, 'TooManyRequests')
  t.equal((await ended(source('a', CALLER))).state, 'TooManyRequests')
  await clock.advance(1_020)
  t.equal((await ended(source('a', CALLER))).state, 'ok')
  t.equal((await ended(source('a', CALLER))).state, 'QuotaExhausted')
})

await t.test('around a changed limit no second has more calls than the limits allow', async (t) => {
  const { source, setRate, inner, clock } = setup({ perSecond: 4, queueTimeoutMs: 1_000 })
  inner.always = answering
  const load = async (forMs: number) => {
    for (let i = 0; i < forMs / 50; i++) {
      watch(source(`of ${clock.now()}`, CALLER))
      await clock.advance(50)
    }
  }
  const most = (from: number, to: number) => {
    const sent = inner.sent.map(({ at }) => at).filter((at) => at >= from && at < to)
    return Math.max(...sent.map((start) => sent.filter((at) => at >= start && at < start + 1_000).length))
  }
  await load(3_000)
  const lowered = clock.now()
  setRate(3)
  await load(5_000)
  const raised = clock.now()
  setRate(8)
  await load(5_000)
  t.strictSame(
    [most(0, lowered + 1_100), most(lowered + 1_100, raised), most(raised + 1_100, clock.now())],
    [4, 3, 8],
  )
  t.ok(most(lowered - 1_000, raised) <= 4 && most(raised - 1_000, clock.now()) <= 8)
})

await t.test('a removed limit sends at once, and a removed quota charges nothing', async (t) => {
  const { source, setRate, setQuota, inner, ledger } = setup({ perSecond: 1, limit: 2 })
  inner.always = answering
  t.equal((await ended(source('a', CALLER))).state, 'ok')
  t.equal((await ended(source('b', CALLER))).state, 'TooManyRequests')
  setRate(0)
  t.equal((await ended(source('b', CALLER))).state, 'ok')
  t.equal((await ended(source('c', CALLER))).state, 'QuotaExhausted')
  setQuota(null)
  t.equal((await ended(source('c', CALLER))).state, 'ok')
  t.equal(ledger.spent, 2)
})
