import t from 'tap'
import type { CircuitDetails } from '../../../src/events.ts'
import { CircuitBreaker } from '../../../src/upstream/policies/circuit-breaker.ts'
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

function setup() {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const events: string[] = []
  const details: CircuitDetails[] = []
  const heldBack: string[] = []
  const breaker = new CircuitBreaker({
    clock,
    observer: {
      circuitChanged: (state, change) => {
        events.push(state)
        details.push(change ?? {})
      },
      upstreamHeldBack: (by) => void heldBack.push(by),
    },
  })
  const source = breaker.policy(inner.source)
  /** Calls, one after the other, that all end so. */
  const end = async (how: Ending, times = 1) => {
    inner.always = how === ok ? answering : failing(how)
    for (let i = 0; i < times; i++) await ended(source('a', CALLER))
    inner.always = null
  }
  return {
    clock,
    inner,
    events,
    details,
    heldBack,
    state: () => breaker.state,
    isBlocking: () => breaker.isBlocking,
    source,
    end,
    call: () => watch(source('a', CALLER)),
    open: () => end(serverError, 5),
  }
}

for (const [name, how, means] of ENDINGS) {
  const opens = means === 'failure'
  await t.test(
    `a closed circuit ${opens ? 'opens after five of' : 'never opens after'}: ${name}`,
    async (t) => {
      const { end, state, events } = setup()
      await end(how, 4)
      t.equal(state(), 'closed')
      await end(how)
      t.equal(state(), opens ? 'open' : 'closed')
      await end(how, 20)
      t.strictSame(events, opens ? ['open'] : [])
    },
  )
}

await t.test('a closed circuit opens at the fifth failure of the last ten calls', async (t) => {
  const expected = {
    fffff: 'open',
    ffff: 'closed',
    'ffff.f': 'open',
    '.....fffff': 'open',
    'f.f.f.f.f': 'open',
    'ff......ff..f': 'closed', // the first two are more than ten calls ago
    'ffff......f': 'closed',
    'ffff.....f': 'open',
    ffffuuuuuuuuuuuuuuuuuf: 'open', // ignored outcomes do not count as calls
  }
  const actual: Record<string, string> = {}
  for (const letters of Object.keys(expected)) {
    const { end, state } = setup()
    for (const letter of letters) {
      await end(letter === 'f' ? serverError : letter === '.' ? ok : () => failure('throttled'))
    }
    actual[letters] = state()
  }
  t.strictSame(actual, expected)
})

await t.test('a closed circuit passes each call its own answer or error', async (t) => {
  const { call, inner } = setup()
  const [first, second] = [call(), call()]
  const error = serverError()
  await inner.sent[1]?.fail(error)
  await inner.sent[0]?.answer()
  t.equal(first.state, 'ok')
  t.equal(second.error, error)
})

await t.test('an open circuit sends nothing for a second and answers 503 with the time left', async (t) => {
  const { open, call, clock, inner } = setup()
  await open()
  const errors = []
  for (const waitMs of [0, 400, 599]) {
    await clock.advance(waitMs)
    const denied = call()
    await clock.advance(0)
    errors.push([denied.error?.code, denied.error?.status, denied.error?.retryAfterMs])
  }
  t.strictSame(
    errors,
    [1_000, 600, 1].map((leftMs) => ['UpstreamUnavailable', 503, leftMs]),
  )
  t.equal(inner.sent.length, 5)
})

for (const [name, how] of ENDINGS) {
  await t.test(`a circuit ignores the end of a call sent before it opened: ${name}`, async (t) => {
    const { open, call, inner, state, clock, end } = setup()
    const late = [call(), call(), call(), call(), call(), call()]
    const [whileOpen, whileProbing, ...afterwards] = inner.sent
    const finish = (sent = inner.last) => (how === ok ? sent.answer() : sent.fail(how()))
    await open()
    await finish(whileOpen)
    t.equal(state(), 'open', 'while it is open')
    t.not(late[0]?.state, 'pending', 'the call itself has ended')
    await clock.advance(1_000)
    const probe = call()
    await finish(whileProbing)
    t.equal(state(), 'half_open', 'while a probe is in flight')
    await inner.last.answer()
    t.equal(probe.state, 'ok')
    for (const sent of afterwards) await finish(sent)
    await end(serverError)
    t.equal(state(), 'closed', 'when it is closed again')
  })
}

await t.test('a half-open circuit sends a single probe and rejects other calls', async (t) => {
  const { open, call, clock, inner, state, events } = setup()
  await open()
  await clock.advance(1_000)
  const calls = Array.from({ length: 10 }, call)
  await clock.advance(0)
  t.equal(inner.sent.length, 6)
  t.equal(inner.last.call.isProbe, true, 'so that it is not retried')
  t.equal(state(), 'half_open')
  t.strictSame(
    calls.map((one) => one.state),
    ['pending', ...Array.from({ length: 9 }, () => 'UpstreamUnavailable')],
  )
  t.ok((calls[9]?.error?.retryAfterMs ?? 0) >= 1_000)
  await clock.advance(60_000)
  call()
  t.equal(inner.sent.length, 6, 'however long the probe takes')
  await inner.last.answer()
  t.equal(state(), 'closed')
  t.equal(calls[0]?.state, 'ok')
  t.strictSame(events, ['open', 'half_open', 'closed'])
})

for (const [name, how, means] of ENDINGS) {
  const becomes = means === 'success' ? 'closed' : means === 'failure' ? 'open' : 'half_open'
  await t.test(`a half-open circuit becomes ${becomes} after a probe with: ${name}`, async (t) => {
    const { open, end, clock, state, inner, events } = setup()
    await open()
    await clock.advance(1_000)
    await end(how)
    t.equal(state(), becomes)
    t.equal(inner.sent.length, 6, 'the probe was sent')
    await clock.advance(becomes === 'open' ? 2_000 : 0)
    await end(how)
    t.equal(inner.sent.length, 7, 'the next call is sent')
    await clock.advance(5_000)
    await end(ok)
    t.equal(state(), 'closed', 'no state lasts for ever')
    t.equal(events.at(-1), 'closed')
  })
}

await t.test(
  'a circuit stays open for 1, 2, 4, 5, 5 s while probes fail, and then for 1 s again',
  async (t) => {
    const { open, end, clock, state } = setup()
    const OPEN_MS = [1_000, 2_000, 4_000, 5_000, 5_000]
    const states = []
    for (let round = 0; round < 2; round++) {
      await open()
      for (const openMs of OPEN_MS) {
        await clock.advance(openMs - 1)
        await end(serverError)
        states.push(state())
        await clock.advance(1)
        await end(() => failure('throttled'))
        states.push(state())
        await end(serverError)
      }
      await clock.advance(5_000)
      await end(ok)
      await end(serverError, 4)
      states.push(state()) // failures of before do not count
      await end(ok, 10)
    }
    const round = [...OPEN_MS.flatMap(() => ['open', 'half_open']), 'closed']
    t.strictSame(states, [...round, ...round])
  },
)

await t.test('the event of an opened circuit has the last error and the time until the probe', async (t) => {
  const { open, details, end, clock } = setup()
  await open()
  t.match(details, [{ lastError: /./, probeInMs: 1_000 }])
  await clock.advance(1_000)
  await end(serverError)
  t.match(details, [{ probeInMs: 1_000 }, {}, { lastError: /./, probeInMs: 2_000 }])
})

await t.test('every call that an open circuit does not send is reported', async (t) => {
  const { open, heldBack, end, clock, call } = setup()
  await open()
  t.strictSame(heldBack, [])
  await end(ok, 3)
  t.strictSame(heldBack, ['circuit', 'circuit', 'circuit'])
  await clock.advance(1_000)
  call()
  t.equal(heldBack.length, 3, 'the probe is sent')
  call()
  await clock.advance(0)
  t.equal(heldBack.length, 4, 'a call beside the probe is not')
})

await t.test('the circuit blocks until a probe is due, and while it is in flight', async (t) => {
  const { open, isBlocking, clock, call, inner, state } = setup()
  t.equal(isBlocking(), false)
  await open()
  t.equal(isBlocking(), true)
  await clock.advance(999)
  t.equal(isBlocking(), true)
  await clock.advance(1)
  t.strictSame([state(), isBlocking()], ['open', false], 'a probe is due')
  const probe = call()
  t.strictSame([state(), isBlocking()], ['half_open', true])
  await inner.last.answer()
  t.equal(probe.state, 'ok')
  t.equal(isBlocking(), false)
})
