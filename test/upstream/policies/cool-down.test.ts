import t from 'tap'
import type { UpstreamRejection } from '../../../src/events.ts'
import type { RejectionKind, UpstreamError } from '../../../src/upstream/outcomes.ts'
import { CoolDown } from '../../../src/upstream/policies/cool-down.ts'
import { LocalCoolDown } from '../../../src/upstream/state/cool-down-state.ts'
import { TestClock } from '../../support/clock.ts'
import type { Ending } from '../doubles.ts'
import {
  answering,
  CALLER,
  ended,
  ENDINGS,
  failing,
  failure,
  ok,
  ScriptedSource,
  serverError,
  watch,
} from '../doubles.ts'

/* Also covers upstream/tomtom/diagnosis.ts. */

function setup() {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const key = { current: 'first' }
  const events: (UpstreamRejection | 'recovered')[] = []
  const coolDowns: number[] = []
  const heldBack: string[] = []
  const state = new LocalCoolDown({
    clock,
    observer: {
      upstreamRejected: (rejection) => void events.push(rejection),
      coolDownStarted: (waitMs) => void coolDowns.push(waitMs),
      upstreamHeldBack: (by) => void heldBack.push(by),
      upstreamRecovered: () => void events.push('recovered'),
    },
  })
  const source = new CoolDown({ state, clock, apiKey: () => key.current }).policy(inner.source)
  const end = async (how: Ending) => {
    inner.always = how === ok ? answering : failing(how)
    const result = await ended(source('a', CALLER))
    inner.always = null
    return result
  }
  /** For how long no call is sent; afterwards that time is over. Null if a call is sent at once. */
  const delayMs = async () => {
    const before = inner.sent.length
    const { error } = await end(ok)
    if (inner.sent.length > before) return null
    const waitMs = error?.retryAfterMs ?? Number.NaN
    await clock.advance(waitMs - 1)
    await end(ok)
    if (inner.sent.length > before) return Number.NaN
    await clock.advance(1)
    return waitMs
  }
  return {
    clock,
    inner,
    key,
    events,
    coolDowns,
    heldBack,
    source,
    end,
    delayMs,
    call: () => watch(source('a', CALLER)),
  }
}

const throttled = (retryAfterMs?: number) => () =>
  failure('throttled', { retryAfterMs, rejection: 'throttled' })
const rejected =
  (rejection: RejectionKind = 'unclear', upstreamStatus = 403) =>
  () =>
    failure('refused', { rejection, upstreamStatus })

for (const [name, how, code, status] of [
  ['429', throttled(), 'TooManyRequests', 429],
  ['401', rejected('unclear', 401), 'UpstreamRefused', 502],
  ['403', rejected('unclear', 403), 'UpstreamRefused', 502],
] as const) {
  await t.test(`a ${name} delays calls for 5 s with ${code} and the time left`, async (t) => {
    const { end, clock, inner } = setup()
    t.match((await end(how)).error, { code, status, retryAfterMs: 5_000 })
    await clock.advance(2_000)
    t.match((await end(ok)).error, { code, status, retryAfterMs: 3_000 })
    await clock.advance(2_999)
    t.match((await end(ok)).error, { code, status, retryAfterMs: 1 })
    t.equal(inner.sent.length, 1)
    await clock.advance(1)
    t.equal((await end(ok)).state, 'ok')
  })
}

await t.test('a cool-down delays calls for all stations', async (t) => {
  const { end, source, inner } = setup()
  await end(throttled())
  t.equal((await ended(source('another', CALLER))).state, 'TooManyRequests')
  t.equal(inner.sent.length, 1)
})

await t.test('a cool-down lasts as long as Retry-After', async (t) => {
  const expected = [1_000, 30_000, 300_000]
  const actual = []
  for (const ms of expected) {
    const { end, delayMs } = setup()
    actual.push([(await end(throttled(ms))).error?.retryAfterMs, await delayMs()])
  }
  t.strictSame(
    actual,
    expected.map((ms) => [ms, ms]),
  )
})

await t.test('a cool-down of 5 s is reported as 5 s at any fraction of a millisecond', async (t) => {
  const reported: unknown[] = []
  for (let i = 0; i < 50; i++) {
    const { end, clock } = setup()
    await clock.advance(43_600.3 + i * 97.31) // up to where a number has fewer bits for its fraction
    reported.push((await end(throttled())).error?.retryAfterMs)
  }
  t.strictSame([...new Set(reported)], [5_000])
})

await t.test(
  'a cool-down without Retry-After doubles up to 60 s while upstream rejects probes',
  async (t) => {
    const { end, delayMs } = setup()
    const delays = []
    for (let i = 0; i < 6; i++) {
      await end(throttled())
      delays.push(await delayMs())
    }
    t.strictSame(delays, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000])
    await end(throttled(2_000))
    t.equal(await delayMs(), 2_000, 'Retry-After has priority')
    t.equal((await end(ok)).state, 'ok')
    await end(rejected())
    t.equal(await delayMs(), 5_000, 'an answer resets it')
  },
)

await t.test('no outcome but a rejection starts a cool-down', async (t) => {
  const others = ENDINGS.filter(([name]) => name !== '429' && name !== '401 or 403')
  const seen = []
  for (const [, how] of others) {
    const { end, inner, events } = setup()
    await end(how)
    await end(ok)
    seen.push([inner.sent.length, events.length])
  }
  t.strictSame(
    seen,
    others.map(() => [2, 0]),
  )
})

await t.test('calls in flight together that are rejected start one cool-down', async (t) => {
  const { call, clock, inner, events, delayMs, end } = setup()
  for (let i = 0; i < 20; i++) call()
  for (const sent of inner.sent.slice(0, 20)) {
    await clock.advance(10)
    await sent.fail(throttled()())
  }
  t.equal(events.length, 1)
  t.equal(await delayMs(), 5_000, 'from the last of them')
  await end(throttled())
  t.equal(await delayMs(), 10_000, 'the next rejection is the second')
})

await t.test('a shorter Retry-After of a call in flight does not shorten the cool-down', async (t) => {
  const { call, inner, delayMs } = setup()
  const calls = [call(), call(), call()]
  await inner.sent[0]?.fail(throttled(60_000)())
  await inner.sent[1]?.fail(throttled()())
  await inner.sent[2]?.fail(throttled(1_000)())
  t.strictSame(
    calls.map(({ error }) => error?.retryAfterMs),
    [60_000, 60_000, 60_000],
  )
  t.equal(await delayMs(), 60_000)
})

await t.test('an answer to a call sent before a cool-down does not end it', async (t) => {
  const { call, clock, inner, events, delayMs } = setup()
  const calls = [call(), call(), call()]
  await clock.advance(10)
  await inner.sent[0]?.fail(throttled(30_000)())
  await inner.sent[1]?.answer()
  await inner.sent[2]?.fail(failure('not_found'))
  t.strictSame(
    calls.map(({ state }) => state),
    ['TooManyRequests', 'ok', 'NotFound'],
  )
  t.equal(await delayMs(), 30_000)
  t.equal(events.length, 1)
})

await t.test('after a cool-down a single probe is sent and other calls are delayed', async (t) => {
  const { end, call, clock, inner } = setup()
  await end(rejected())
  await clock.advance(5_000)
  const calls = [call(), call(), call()]
  await clock.advance(0)
  t.equal(inner.sent.length, 2)
  t.strictSame(
    calls.map(({ state }) => state),
    ['pending', 'UpstreamRefused', 'UpstreamRefused'],
  )
  t.equal(calls[1]?.error?.retryAfterMs, 1_000)
  await inner.last.answer()
  t.equal(calls[0]?.state, 'ok')
  call()
  call()
  t.equal(inner.sent.length, 4, 'then all calls are sent')
})

for (const [name, how, means] of ENDINGS) {
  const ends = means === 'success'
  await t.test(
    `the probe of a cool-down ${ends ? 'ends it' : 'lets another follow'} after: ${name}`,
    async (t) => {
      const { end, clock, inner, call, events } = setup()
      await end(throttled())
      await clock.advance(5_000)
      await end(how)
      t.equal(inner.sent.length, 2, 'the probe was sent')
      t.equal(events.includes('recovered'), ends)
      await clock.advance(60_000)
      call()
      call()
      t.equal(inner.sent.length, ends ? 4 : 3)
    },
  )
}

await t.test('a changed key is used at once', async (t) => {
  const { end, key, inner } = setup()
  await end(rejected())
  key.current = 'second'
  t.equal((await end(ok)).state, 'ok')
  t.equal(inner.sent.length, 2)
})

await t.test('a changed key that is rejected starts with a first cool-down of its own', async (t) => {
  const { end, key, delayMs, events } = setup()
  await end(rejected())
  await delayMs()
  await end(rejected())
  key.current = 'second'
  await end(rejected())
  t.equal(await delayMs(), 5_000)
  t.equal(events.length, 2, 'the operator learns of it')
})

await t.test('a late rejection of the former key delays no calls', async (t) => {
  const { end, key, call, inner, events } = setup()
  const late = call()
  key.current = 'second'
  await inner.last.fail(rejected()())
  t.match(late.error, { code: 'UpstreamRefused', retryAfterMs: 5_000 })
  t.equal((await end(ok)).state, 'ok')
  t.strictSame(events, [])
})

for (const [name, finish] of [
  ['rejection', (sent: ScriptedSource['last']) => sent.fail(rejected()())],
  ['answer', (sent: ScriptedSource['last']) => sent.answer()],
] as const) {
  await t.test(`a late ${name} with the former key does not end the cool-down of the new one`, async (t) => {
    const { end, key, call, inner, delayMs, events } = setup()
    call()
    const late = inner.last
    key.current = 'second'
    await end(throttled(60_000))
    await finish(late)
    t.notOk(events.includes('recovered'))
    t.equal(await delayMs(), 60_000)
  })
}

await t.test('an event is emitted once when upstream rejects calls, and once when it recovers', async (t) => {
  const { end, delayMs, events, clock } = setup()
  for (let i = 0; i < 3; i++) {
    await end(throttled())
    await end(ok)
    await delayMs()
  }
  t.match(events, [{ status: 429, waitMs: 5_000, diagnosis: /UPSTREAM_MAX_QPS/ }])
  for (let i = 0; i < 3; i++) await end(ok)
  t.strictSame(events.slice(1), ['recovered'])
  await clock.advance(1)
  await end(throttled(7_000))
  t.match(events.slice(2), [{ status: 429, waitMs: 7_000 }])
})

await t.test('an event is emitted again when the likely cause changes', async (t) => {
  const { end, delayMs, events } = setup()
  for (const how of [throttled(), rejected('over_quota'), rejected('over_quota'), throttled()]) {
    await end(how)
    await delayMs()
  }
  t.match(events, [{ status: 429 }, { status: 403, diagnosis: /quota/ }, { status: 429 }])
  t.equal(events.length, 3)
})

for (const [kind, status, before, diagnosis] of [
  ['over_quota', 403, null, /credit of the key is used up: set UPSTREAM_QUOTA/],
  ['over_quota', 403, ok, /credit of the key is used up: set UPSTREAM_QUOTA/],
  ['throttled', 429, null, /lower UPSTREAM_MAX_QPS/],
  ['throttled', 403, ok, /lower UPSTREAM_MAX_QPS/],
  ['referer', 403, null, /UPSTREAM_REFERER/],
  ['bad_key', 403, null, /not active or not valid.*TOMTOM_API_KEY/],
  ['bad_key', 403, ok, /not active or not valid.*TOMTOM_API_KEY/],
  ['unclear', 401, null, /most likely wrong.*TOMTOM_API_KEY/],
  ['unclear', 403, null, /most likely wrong.*TOMTOM_API_KEY/],
  ['unclear', 401, ok, /worked before.*lower UPSTREAM_MAX_QPS/],
  ['unclear', 403, ok, /worked before.*quota is used up, or it was revoked/],
  ['unclear', 403, () => failure('not_found'), /worked before/],
  ['unclear', 403, () => failure('bad_request'), /worked before/],
  ['unclear', 403, serverError, /most likely wrong/],
  ['unclear', 403, () => failure('invalid'), /most likely wrong/],
] as const) {
  const history =
    before === null
      ? 'as the first call'
      : before === ok
        ? 'after an answer'
        : `after ${(before() as UpstreamError).outcome}`
  await t.test(`a ${status} (${kind}) ${history} is diagnosed as: ${diagnosis.source}`, async (t) => {
    const { end, events } = setup()
    if (before !== null) await end(before)
    await end(rejected(kind, status))
    t.match(events, [{ status, diagnosis }])
  })
}

await t.test('a changed key is diagnosed as wrong, although the former one was accepted', async (t) => {
  const { end, key, events } = setup()
  await end(ok)
  key.current = 'second'
  await end(rejected())
  t.match(events, [{ diagnosis: /most likely wrong/ }])
})

await t.test(
  'every rejection reports the length of its pause, and every paused call is reported',
  async (t) => {
    const { end, coolDowns, heldBack, events, clock } = setup()
    await end(throttled())
    await end(ok)
    await clock.advance(5_000)
    await end(throttled())
    t.strictSame(coolDowns, [5_000, 10_000])
    t.strictSame(heldBack, ['cool_down'])
    t.equal(events.length, 1, 'the likely cause is reported once')
  },
)
