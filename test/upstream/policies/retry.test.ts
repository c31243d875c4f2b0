import t from 'tap'
import { Retry } from '../../../src/upstream/policies/retry.ts'
import { TestClock } from '../../support/clock.ts'
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
} from '../doubles.ts'

const TIMEOUT_MS = 3_000

function setup(random = 0.5) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const retry = new Retry({ timeoutMs: TIMEOUT_MS }, { clock, random: () => random })
  return { clock, inner, source: retry.policy(inner.source) }
}

const status = (upstreamStatus: number) => () => failure('server_error', { upstreamStatus })

await t.test('a probe is not retried', async (t) => {
  const seen = []
  for (const error of [broken, status(503)]) {
    const { inner, source } = setup()
    inner.always = failing(error)
    seen.push([(await ended(source('a', { ...CALLER, isProbe: true }))).state, inner.sent.length])
  }
  t.strictSame(seen, [
    ['UpstreamFailed', 1],
    ['UpstreamFailed', 1],
  ])
})

for (const [name, error, retried] of [
  ['a broken connection', broken, true],
  ['502', status(502), true],
  ['503', status(503), true],
  ['504', status(504), true],
  ['500, which would be likely to repeat', status(500), false],
  ['501', status(501), false],
  ['596', status(596), false],
  ['a connection that was never made', unreached, false],
  ['a timeout, which leaves no time', () => failure('timeout'), false],
  ['400', () => failure('bad_request'), false],
  ['404', () => failure('not_found'), false],
  ['401 or 403', () => failure('refused'), false],
  ['429, which a retry would make worse', () => failure('throttled'), false],
  ['an invalid answer', () => failure('invalid'), false],
  ['a limit of this service', limited, false],
  ['a defect', () => new TypeError('a mistake'), false],
] as const) {
  await t.test(`a call is ${retried ? 'retried once' : 'not retried'} after ${name}`, async (t) => {
    const { source, inner, clock } = setup()
    const first = error()
    inner.always = failing(() => first)
    const call = watch(source('a', CALLER))
    await clock.advance(0)
    if (retried) t.equal(call.state, 'pending')
    else t.equal(call.error ?? call.state, first instanceof TypeError ? String(first) : first)
    await clock.advance(10_000)
    t.equal(inner.sent.length, retried ? 2 : 1)
    t.not(call.state, 'pending')
  })
}

await t.test('a second attempt follows after a random pause of 20 to 100 ms', async (t) => {
  const pauses = []
  for (const random of [0, 0.25, 0.999]) {
    const { source, inner, clock } = setup(random)
    const call = watch(source('a', CALLER))
    const startedAt = inner.last.at
    await inner.last.fail(broken())
    await clock.advance(200)
    const pauseMs = inner.last.at - startedAt
    await inner.last.answer()
    pauses.push([Math.round(pauseMs * 100) / 100, call.state])
  }
  t.strictSame(pauses, [
    [20, 'ok'],
    [40, 'ok'],
    [99.92, 'ok'],
  ])
})

await t.test(
  'a second attempt is for the same station, of low priority, and has the time left',
  async (t) => {
    const firsts = [CALLER, HOLDER, REFRESH]
    const attempts = []
    for (const options of firsts) {
      const { source, inner, clock } = setup(0)
      watch(source('a', options))
      await clock.advance(1_000)
      await inner.last.fail(broken())
      await clock.advance(100)
      attempts.push(inner.sent.map(({ id, call }) => ({ id, call })))
    }
    t.strictSame(
      attempts,
      firsts.map((call) => [
        { id: 'a', call },
        { id: 'a', call: { ...call, lowPriority: true, timeoutMs: TIMEOUT_MS - 1_000 - 20 } },
      ]),
    )
  },
)

await t.test('a second attempt is made only with at least 100 ms left', async (t) => {
  const counts = []
  for (const elapsedMs of [TIMEOUT_MS - 120, TIMEOUT_MS - 119, TIMEOUT_MS + 1]) {
    const { source, inner, clock } = setup(0)
    watch(source('a', CALLER))
    await clock.advance(elapsedMs)
    await inner.last.fail(broken())
    await clock.advance(100)
    counts.push(inner.sent.length)
  }
  t.strictSame(counts, [2, 1, 1])
})

await t.test('retries are limited to ten, and then to a tenth of the calls', async (t) => {
  const { source, inner, clock } = setup(0)
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
  t.equal(await retriesOf(10), 10, 'calls without a retry save ten at most, not thirty')
  t.ok((await retriesOf(20)) <= 4)
})

for (const [name, second, thrown] of [
  ['500', status(500), 'second'],
  ['429', () => failure('throttled'), 'second'],
  ['404', () => failure('not_found'), 'second'],
  ['a broken connection', broken, 'second'],
  ['a limit of this service', limited, 'first'],
  ['a defect', () => new TypeError('a mistake'), 'first'],
] as const) {
  await t.test(`the ${thrown} error is thrown when the second attempt ends in ${name}`, async (t) => {
    const { source, inner, clock } = setup(0)
    const errors = { first: broken(), second: second() }
    const call = watch(source('a', CALLER))
    await inner.last.fail(errors.first)
    await clock.advance(20)
    await inner.last.fail(errors.second)
    t.equal(call.error, errors[thrown])
  })
}
