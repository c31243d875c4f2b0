import t from 'tap'
import { broadcast } from '../../src/events.ts'
import { LocalQuota } from '../../src/upstream/state/quota-ledger.ts'
import { withPolicies } from '../../src/upstream/policies.ts'
import { Retry } from '../../src/upstream/policies/retry.ts'
import { TestClock } from '../support/clock.ts'
import {
  answering,
  broken,
  CALLER,
  ended,
  failing,
  failure,
  HOLDER,
  limited,
  REFRESH,
  ScriptedSource,
  unreached,
  watch,
} from './doubles.ts'

const TIMEOUT_MS = 3_000

function retried(random = 0.5) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const source = new Retry({ timeoutMs: TIMEOUT_MS }, { clock, random: () => random }).policy(inner.source)
  return { clock, inner, source }
}

const status = (upstreamStatus: number) => () => failure('server_error', { upstreamStatus })

await t.test('a call that is to see whether upstream is back is not tried again', async (t) => {
  for (const error of [broken, status(503)]) {
    const { inner, source } = retried()
    inner.always = failing(error)
    t.match(await ended(source('a', { ...CALLER, isProbe: true })), { state: 'UpstreamFailed' })
    t.equal(inner.sent.length, 1)
  }
})

await t.test('a call is tried once more', async (t) => {
  for (const [name, error, again] of [
    ['after a broken connection', broken, true],
    ['after 502', status(502), true],
    ['after 503', status(503), true],
    ['after 504', status(504), true],
    ['not after 500: it might do it again', status(500), false],
    ['not after 501', status(501), false],
    ['not after 596', status(596), false],
    ['not where nobody listens', unreached, false],
    ['not after a timeout: its time is gone', () => failure('timeout'), false],
    ['not after 400', () => failure('bad_request'), false],
    ['not after 404', () => failure('not_found'), false],
    ['not after 401 or 403', () => failure('refused'), false],
    ['not after 429, which would make it worse', () => failure('throttled'), false],
    ['not after what was no answer', () => failure('invalid'), false],
    ['not what was kept back', limited, false],
    ['not after a mistake of ours', () => new TypeError('a mistake'), false],
  ] as const) {
    await t.test(name, async (t) => {
      const { source, inner, clock } = retried()
      const first = error()
      inner.always = failing(() => first)
      const call = watch(source('a', CALLER))
      await clock.advance(0)
      if (again) t.equal(call.state, 'pending')
      else t.equal(call.error ?? call.state, first instanceof TypeError ? String(first) : first)
      await clock.advance(10_000)
      t.equal(inner.sent.length, again ? 2 : 1, 'and no third time')
      t.not(call.state, 'pending')
    })
  }

  await t.test('after a short pause that is not the same for all: 20 to 100 ms', async (t) => {
    for (const [random, pauseMs] of [
      [0, 20],
      [0.25, 40],
      [0.999, 99.92],
    ] as const) {
      const { source, inner, clock } = retried(random)
      const call = watch(source('a', CALLER))
      const startedAt = inner.last.at
      await inner.last.fail(broken())
      await clock.advance(200)
      t.ok(Math.abs(inner.last.at - startedAt - pauseMs) < 0.01, `${inner.last.at - startedAt} ms`)
      await inner.last.answer()
      t.equal(call.state, 'ok')
    }
  })

  await t.test('for the same station, with nobody queueing for it, in the time that is left', async (t) => {
    for (const first of [CALLER, HOLDER, REFRESH]) {
      const { source, inner, clock } = retried(0)
      watch(source('a', first))
      t.strictSame(inner.last.call, first)
      await clock.advance(1_000)
      await inner.last.fail(broken())
      await clock.advance(100)
      t.equal(inner.last.id, 'a')
      t.strictSame(inner.last.call, { ...first, lowPriority: true, timeoutMs: TIMEOUT_MS - 1_000 - 20 })
    }
  })

  await t.test('only if there is time for it: 100 ms and more', async (t) => {
    for (const [elapsedMs, again] of [
      [TIMEOUT_MS - 120, true],
      [TIMEOUT_MS - 119, false],
      [TIMEOUT_MS + 1, false],
    ] as const) {
      const { source, inner, clock } = retried(0)
      watch(source('a', CALLER))
      await clock.advance(elapsedMs)
      await inner.last.fail(broken())
      await clock.advance(100)
      t.equal(inner.sent.length, again ? 2 : 1, `${elapsedMs} ms have gone by`)
    }
  })

  await t.test('as long as retries are few: ten, and then one for every ten calls', async (t) => {
    const { source, inner, clock } = retried(0)
    const retriesOf = async (calls: number) => {
      const before = inner.sent.length
      for (let i = 0; i < calls; i++) {
        watch(source('a', CALLER))
        await clock.advance(20)
      }
      return inner.sent.length - before - calls
    }
    inner.always = failing(broken)
    const first = await retriesOf(50)
    t.ok(first >= 13 && first <= 15, `${first} of 50`)
    const later = await retriesOf(300)
    t.ok(later >= 29 && later <= 31, `${later} of 300`)
    inner.always = answering
    t.equal(await retriesOf(300), 0)
    inner.always = failing(broken)
    const again = await retriesOf(10)
    t.ok(again === 10, `${again} of 10: what was saved is ten, not thirty`)
    t.ok((await retriesOf(20)) <= 4)
  })
})

await t.test('what the second attempt says', async (t) => {
  for (const [name, second, told] of [
    ['500', status(500), 'second'],
    ['a refusal', () => failure('throttled'), 'second'],
    ['404', () => failure('not_found'), 'second'],
    ['a broken connection', broken, 'second'],
    ['nothing: it was kept back', limited, 'first'],
    ['nothing: a mistake of ours', () => new TypeError('a mistake'), 'first'],
  ] as const) {
    await t.test(`${name}: the ${told} error is told`, async (t) => {
      const { source, inner, clock } = retried(0)
      const errors = { first: broken(), second: second() }
      const call = watch(source('a', CALLER))
      await inner.last.fail(errors.first)
      await clock.advance(20)
      await inner.last.fail(errors.second)
      t.equal(call.error, errors[told])
    })
  }
})

function sleeves({ perSecond = 0, queueTimeoutMs = 0, limit = 1_000 } = {}) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const budget = new LocalQuota({ limit, per: 'day' }, clock)
  const all = withPolicies(
    { perSecond, queueTimeoutMs, timeoutMs: TIMEOUT_MS },
    {
      source: inner.source,
      quota: { ledger: budget, pacing: { isRationing: () => false } },
      stores: null,
      apiKey: () => 'key',
      clock,
      observer: broadcast([]),
      random: () => 0,
    },
  )
  const end = async (how: () => unknown) => {
    inner.always = failing(how)
    const call = watch(all.source('a', CALLER))
    await clock.advance(20)
    return call
  }
  return { ...all, clock, inner, budget, end }
}

await t.test('one around the other', async (t) => {
  await t.test('a second attempt takes a place and is charged, like the first', async (t) => {
    const { end, inner, budget, source } = sleeves({ perSecond: 3 })
    t.equal((await end(broken)).state, 'UpstreamFailed')
    t.equal(inner.sent.length, 2)
    t.equal(budget.spent, 2)
    inner.always = answering
    t.equal((await ended(source('b', CALLER))).state, 'ok')
    t.equal((await ended(source('c', CALLER))).state, 'TooManyRequests', 'three places, and all are taken')
  })

  await t.test('a second attempt without a place or a budget is not made', async (t) => {
    for (const options of [{ perSecond: 1, queueTimeoutMs: 60_000 }, { limit: 1 }]) {
      const { end, inner, budget, clock, queued } = sleeves(options)
      const error = broken()
      t.equal((await end(() => error)).error, error, 'the first error is what counts')
      t.equal(queued(), 0)
      await clock.advance(60_000)
      t.equal(inner.sent.length, 1)
      t.equal(budget.spent, 1)
    }
  })

  await t.test('a call that gets no place is not charged', async (t) => {
    const { source, budget, inner } = sleeves({ perSecond: 1 })
    inner.always = answering
    await ended(source('a', CALLER))
    t.equal((await ended(source('b', CALLER))).state, 'TooManyRequests')
    t.equal(budget.spent, 1)
  })

  await t.test('a call that waits is charged when it goes out', async (t) => {
    const { source, budget, inner, clock, queued } = sleeves({ perSecond: 1, queueTimeoutMs: 2_000 })
    inner.always = answering
    await ended(source('a', CALLER))
    const waiting = watch(source('b', CALLER))
    t.equal(queued(), 1)
    t.equal(budget.spent, 1)
    await clock.advance(1_020)
    t.equal(queued(), 0)
    t.equal(waiting.state, 'ok')
    t.equal(budget.spent, 2)
  })

  await t.test('an open circuit and a cool-down spend neither places nor budget', async (t) => {
    for (const [how, times, code] of [
      [status(500), 5, 'UpstreamUnavailable'],
      [() => failure('throttled'), 1, 'TooManyRequests'],
      [() => failure('refused'), 1, 'UpstreamRefused'],
    ] as const) {
      const { end, inner, budget, source, clock, queued } = sleeves({ perSecond: 6, queueTimeoutMs: 1_000 })
      for (let i = 0; i < times; i++) await end(how)
      for (let i = 0; i < 50; i++) t.equal((await ended(source('a', CALLER))).state, code)
      t.equal(budget.spent, times)
      t.equal(queued(), 0)
      inner.always = answering
      await clock.advance(5_000)
      t.equal((await ended(source('a', CALLER))).state, 'ok', 'and places are left for when it is over')
    }
  })

  await t.test('what is kept back by our own limits never opens the circuit', async (t) => {
    for (const options of [{ perSecond: 1 }, { limit: 1 }]) {
      const { source, inner, circuit } = sleeves(options)
      inner.always = answering
      for (let i = 0; i < 100; i++) await ended(source('a', CALLER))
      t.equal(circuit(), 'closed')
      t.equal(inner.sent.length, 1)
    }
  })

  await t.test('a refusal never opens the circuit, and a half-open one is not stuck over it', async (t) => {
    const { end, inner, circuit, clock, source } = sleeves()
    for (let i = 0; i < 5; i++) await end(status(500))
    t.equal(circuit(), 'open')
    await clock.advance(1_000)
    await end(() => failure('throttled'))
    t.equal(circuit(), 'half_open')
    t.equal(
      (await ended(source('a', CALLER))).state,
      'TooManyRequests',
      'held back, though the circuit would let it',
    )
    await clock.advance(5_000)
    inner.always = answering
    t.equal((await ended(source('a', CALLER))).state, 'ok')
    t.equal(circuit(), 'closed')
  })

  await t.test('a failure that the second attempt made good is no failure', async (t) => {
    const { source, inner, circuit, clock } = sleeves()
    for (let i = 0; i < 9; i++) {
      const call = watch(source('a', CALLER))
      await inner.last.fail(broken())
      await clock.advance(20)
      await inner.last.answer()
      t.equal(call.state, 'ok')
    }
    t.equal(circuit(), 'closed')
  })

  await t.test('without a quota nothing is charged', async (t) => {
    const clock = new TestClock()
    const inner = new ScriptedSource(clock.now)
    inner.always = answering
    const { source } = withPolicies(
      { perSecond: 0, queueTimeoutMs: 0, timeoutMs: TIMEOUT_MS },
      {
        source: inner.source,
        quota: null,
        stores: null,
        apiKey: () => 'key',
        clock,
        observer: broadcast([]),
        random: () => 0,
      },
    )
    for (let i = 0; i < 1_000; i++) watch(source('a', CALLER))
    await clock.advance(0)
    t.equal(inner.sent.length, 1_000)
  })
})
