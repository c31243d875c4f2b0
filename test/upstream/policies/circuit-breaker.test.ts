import t from 'tap'
import { AnotherStationError } from '../../../src/availability/decode.ts'
import type { UpstreamRejection } from '../../../src/events.ts'
import { CircuitBreaker } from '../../../src/upstream/policies/circuit-breaker.ts'
import { CoolDown } from '../../../src/upstream/policies/cool-down.ts'
import { LocalCoolDown } from '../../../src/upstream/state/cool-down-state.ts'
import { upstreamErrorOf } from '../../../src/upstream/tomtom/error.ts'
import type { RejectionKind } from '../../../src/upstream/outcomes.ts'
import { TestClock } from '../../support/clock.ts'
import { answering, CALLER, ended, failing, failure, keptBack, ScriptedSource, watch } from '../doubles.ts'

function breaker() {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const told: string[] = []
  const circuit = new CircuitBreaker({
    clock,
    observer: { circuitChanged: (state) => void told.push(state) },
  })
  const source = circuit.policy(inner.source)
  const state = () => circuit.state
  /** So many calls, one after the other, that all end so. */
  const end = async (how: () => unknown, times = 1) => {
    inner.always = how === ok ? answering : failing(how)
    for (let i = 0; i < times; i++) await ended(source('a', CALLER))
    inner.always = null
  }
  return {
    clock,
    inner,
    told,
    state,
    source,
    end,
    call: () => watch(source('a', CALLER)),
    /** A circuit that has just opened. */
    trip: () => end(serverError, 5),
  }
}

const ok = () => null
const serverError = () => failure('server_error')

type Verdict = 'alive' | 'failing' | 'unknown'

/** Every way in which a call can end, and what it says of upstream. */
const ENDS: readonly [name: string, how: () => unknown, says: Verdict][] = [
  ['an answer', ok, 'alive'],
  ['400', () => failure('bad_request'), 'alive'],
  ['404', () => failure('not_found'), 'alive'],
  ['500', () => failure('server_error'), 'failing'],
  ['no answer for the id', () => failure('invalid'), 'failing'],
  ['an answer for another id', () => upstreamErrorOf(new AnotherStationError()), 'alive'],
  ['another 4xx', () => failure('invalid', { upstreamStatus: 414 }), 'alive'],
  ['a redirect', () => failure('invalid', { upstreamStatus: 302 }), 'failing'],
  ['a timeout', () => failure('timeout'), 'failing'],
  ['a broken connection', () => failure('network', { connectionBroke: true }), 'failing'],
  ['no connection', () => failure('network', { sent: false }), 'failing'],
  ['429', () => failure('throttled'), 'unknown'],
  ['401 or 403', () => failure('refused'), 'unknown'],
  ['a call that was kept back', keptBack, 'unknown'],
  ['a mistake of ours', () => new TypeError('a mistake'), 'unknown'],
  ['something that is no error', () => 'thrown', 'unknown'],
]

await t.test('a closed circuit', async (t) => {
  for (const [name, how, says] of ENDS) {
    await t.test(`${name}: ${says === 'failing' ? 'five open it' : 'never opens it'}`, async (t) => {
      const { end, state, told } = breaker()
      await end(how, 4)
      t.equal(state(), 'closed')
      await end(how)
      t.equal(state(), says === 'failing' ? 'open' : 'closed')
      await end(how, 20)
      t.strictSame(told, says === 'failing' ? ['open'] : [])
    })
  }

  await t.test('opens at the fifth failure of the last ten, whatever came between', async (t) => {
    for (const [name, opens] of [
      ['fffff', true],
      ['ffff', false],
      ['ffff.f', true],
      ['.....fffff', true],
      ['f.f.f.f.f', true],
      ['ff......ff..f', false], // the first two are eleven calls ago and more
      ['ffff......f', false],
      ['ffff.....f', true],
      ['ffffuuuuuuuuuuuuuuuuuf', true], // what told nothing takes no place
    ] as const) {
      const { end, state } = breaker()
      for (const letter of name) {
        await end(letter === 'f' ? serverError : letter === '.' ? ok : () => failure('throttled'))
      }
      t.equal(state(), opens ? 'open' : 'closed', name)
    }
  })

  await t.test('gives each call its own answer or error', async (t) => {
    const { call, inner } = breaker()
    const [first, second] = [call(), call()]
    const error = serverError()
    await inner.sent[1]?.fail(error)
    await inner.sent[0]?.answer()
    t.equal(first.state, 'ok')
    t.equal(second.error, error)
  })
})

await t.test('an open circuit', async (t) => {
  await t.test('sends nothing for a second, and says so in 503 with the time that is left', async (t) => {
    const { trip, call, clock, inner } = breaker()
    await trip()
    for (const [waitMs, leftMs] of [
      [0, 1_000],
      [400, 600],
      [599, 1],
    ] as const) {
      await clock.advance(waitMs)
      const refused = call()
      await clock.advance(0)
      t.match(refused.error, { code: 'UpstreamUnavailable', status: 503, retryAfterMs: leftMs })
    }
    t.equal(inner.sent.length, 5)
  })

  await t.test('is blind for results of calls that were sent before it opened', async (t) => {
    for (const [name, how] of ENDS) {
      const { trip, call, inner, state, clock, end } = breaker()
      const late = [call(), call(), call(), call(), call(), call()]
      const [whileOpen, whileProbing, ...afterwards] = inner.sent
      const finish = (sent = inner.last) => (how === ok ? sent.answer() : sent.fail(how()))
      await trip()
      await finish(whileOpen)
      t.equal(state(), 'open', `${name}, while it is open`)
      t.not(late[0]?.state, 'pending', 'the caller hears all the same')
      await clock.advance(1_000)
      const probe = call()
      await finish(whileProbing)
      t.equal(state(), 'half_open', `${name}, while one call is out to see`)
      await inner.last.answer()
      t.equal(probe.state, 'ok')
      for (const sent of afterwards) await finish(sent)
      await end(serverError)
      t.equal(state(), 'closed', `${name}, when it is closed again`)
    }
  })
})

await t.test('a half-open circuit', async (t) => {
  await t.test('lets exactly one call out to see; the others are refused', async (t) => {
    const { trip, call, clock, inner, state, told } = breaker()
    await trip()
    await clock.advance(1_000)
    const calls = Array.from({ length: 10 }, call)
    await clock.advance(0)
    t.equal(inner.sent.length, 6)
    t.equal(inner.last.call.isProbe, true, 'which is not tried again')
    t.equal(state(), 'half_open')
    t.strictSame(
      calls.map(({ state }) => state),
      ['pending', ...Array.from({ length: 9 }, () => 'UpstreamUnavailable')],
    )
    t.ok((calls[9]?.error?.retryAfterMs ?? 0) >= 1_000)
    await clock.advance(60_000)
    t.equal(call().state, 'pending', 'told at once or not at all')
    t.equal(inner.sent.length, 6, 'however long that one takes')
    await inner.last.answer()
    t.equal(state(), 'closed')
    t.equal(calls[0]?.state, 'ok')
    t.strictSame(told, ['open', 'half_open', 'closed'])
  })

  for (const [name, how, says] of ENDS) {
    const becomes = says === 'alive' ? 'closed' : says === 'failing' ? 'open' : 'half_open'
    await t.test(`${name}: ${becomes}, and the place of the one call is free again`, async (t) => {
      const { trip, end, clock, state, inner, told } = breaker()
      await trip()
      await clock.advance(1_000)
      await end(how)
      t.equal(state(), becomes)
      t.equal(inner.sent.length, 6, 'it was sent')
      await clock.advance(becomes === 'open' ? 2_000 : 0)
      await end(how)
      t.equal(inner.sent.length, 7, 'the next is sent')
      await clock.advance(5_000)
      await end(ok)
      t.equal(state(), 'closed', 'no state is for ever')
      t.equal(told.at(-1), 'closed')
    })
  }

  await t.test(
    'stays open for 1, 2, 4, 5, 5 … s while the one call fails; 1 s again afterwards',
    async (t) => {
      const { trip, end, clock, state } = breaker()
      for (const round of ['first', 'second']) {
        await trip()
        for (const openMs of [1_000, 2_000, 4_000, 5_000, 5_000]) {
          await clock.advance(openMs - 1)
          await end(serverError)
          t.equal(state(), 'open', `${round}: for ${openMs} ms`)
          await clock.advance(1)
          await end(() => failure('throttled'))
          t.equal(state(), 'half_open', 'and no longer')
          await end(serverError)
          t.equal(state(), 'open')
        }
        await clock.advance(5_000)
        await end(ok)
        t.equal(state(), 'closed')
        await end(serverError, 4)
        t.equal(state(), 'closed', 'nothing of before counts')
        await end(ok, 10)
      }
    },
  )
})

function coolDown() {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const key = { current: 'first' }
  const told: (UpstreamRejection | 'accepts')[] = []
  const state = new LocalCoolDown({
    clock,
    observer: {
      upstreamRejected: (refusal) => void told.push(refusal),
      upstreamRecovered: () => void told.push('accepts'),
    },
  })
  const source = new CoolDown({ state, clock, apiKey: () => key.current }).policy(inner.source)
  const end = async (how: () => unknown) => {
    inner.always = how === ok ? answering : failing(how)
    const result = await ended(source('a', CALLER))
    inner.always = null
    return result
  }
  /** For how long nothing is sent; afterwards that time has gone by. Null if a call goes out at once. */
  const heldBackFor = async () => {
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
  return { clock, inner, key, told, source, end, heldBackFor, call: () => watch(source('a', CALLER)) }
}

const throttled = (retryAfterMs?: number) => () =>
  failure('throttled', { retryAfterMs, rejection: 'throttled' })
const refused =
  (refusal: RejectionKind = 'unclear', upstreamStatus = 403) =>
  () =>
    failure('refused', { rejection: refusal, upstreamStatus })

await t.test('after a refusal nothing is sent', async (t) => {
  for (const [name, how, code, status] of [
    ['429', throttled(), 'TooManyRequests', 429],
    ['401', refused('unclear', 401), 'UpstreamRefused', 502],
    ['403', refused('unclear', 403), 'UpstreamRefused', 502],
  ] as const) {
    await t.test(`${name}: 5 s, told as ${code} with the time that is left`, async (t) => {
      const { end, clock, inner } = coolDown()
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

  await t.test('for any station', async (t) => {
    const { end, source, inner } = coolDown()
    await end(throttled())
    t.equal((await ended(source('another', CALLER))).state, 'TooManyRequests')
    t.equal(inner.sent.length, 1)
  })

  await t.test('for as long as Retry-After says', async (t) => {
    for (const ms of [1_000, 30_000, 300_000]) {
      const { end, heldBackFor } = coolDown()
      t.equal((await end(throttled(ms))).error?.retryAfterMs, ms)
      t.equal(await heldBackFor(), ms)
    }
  })

  await t.test('told to the millisecond, at whatever fraction of one: 5 s are not 6', async (t) => {
    const told: unknown[] = []
    for (let i = 0; i < 50; i++) {
      const { end, clock } = coolDown()
      await clock.advance(43_600.3 + i * 97.31) // up to where a number has a bit less for its fraction
      told.push((await end(throttled())).error?.retryAfterMs)
    }
    t.strictSame([...new Set(told)], [5_000])
  })

  await t.test('without one for 5 s, doubling to 60 s while upstream refuses', async (t) => {
    const { end, heldBackFor } = coolDown()
    for (const ms of [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
      await end(throttled())
      t.equal(await heldBackFor(), ms)
    }
    await end(throttled(2_000))
    t.equal(await heldBackFor(), 2_000, 'what upstream says goes first')
    t.equal((await end(ok)).state, 'ok')
    await end(refused())
    t.equal(await heldBackFor(), 5_000, 'an answer ends it all')
  })

  await t.test('and nothing else has that effect', async (t) => {
    for (const [name, how] of ENDS.filter(([name]) => name !== '429' && name !== '401 or 403')) {
      const { end, inner, told } = coolDown()
      await end(how)
      await end(ok)
      t.equal(inner.sent.length, 2, name)
      t.strictSame(told, [], name)
    }
  })
})

await t.test('calls that were under way together', async (t) => {
  await t.test('and are refused together are one cool-down', async (t) => {
    const { call, clock, inner, told, heldBackFor, end } = coolDown()
    for (let i = 0; i < 20; i++) call()
    for (const sent of inner.sent.slice(0, 20)) {
      await clock.advance(10)
      await sent.fail(throttled()())
    }
    t.equal(told.length, 1)
    t.equal(await heldBackFor(), 5_000, 'from the last of them')
    await end(throttled())
    t.equal(await heldBackFor(), 10_000, 'the next is the second')
  })

  await t.test('do not shorten what one of them was told', async (t) => {
    const { call, inner, heldBackFor } = coolDown()
    const calls = [call(), call(), call()]
    await inner.sent[0]?.fail(throttled(60_000)())
    await inner.sent[1]?.fail(throttled()())
    await inner.sent[2]?.fail(throttled(1_000)())
    for (const { error } of calls) t.equal(error?.retryAfterMs, 60_000)
    t.equal(await heldBackFor(), 60_000)
  })

  await t.test('and are answered after it began do not end it: they were let in before', async (t) => {
    const { call, clock, inner, told, heldBackFor } = coolDown()
    const calls = [call(), call(), call()]
    await clock.advance(10)
    await inner.sent[0]?.fail(throttled(30_000)())
    await inner.sent[1]?.answer()
    await inner.sent[2]?.fail(failure('not_found'))
    t.strictSame(
      calls.map(({ state }) => state),
      ['TooManyRequests', 'ok', 'NotFound'],
    )
    t.equal(await heldBackFor(), 30_000)
    t.equal(told.length, 1)
  })
})

await t.test('when the time is over', async (t) => {
  await t.test('one call goes out to see; the others are held back until it is over', async (t) => {
    const { end, call, clock, inner } = coolDown()
    await end(refused())
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
    t.equal(inner.sent.length, 4, 'then all go out')
  })

  for (const [name, how, says] of ENDS) {
    await t.test(`${name}: its place is free again`, async (t) => {
      const { end, clock, inner, call, told } = coolDown()
      await end(throttled())
      await clock.advance(5_000)
      await end(how)
      t.equal(inner.sent.length, 2, 'it was sent')
      t.equal(told.includes('accepts'), says === 'alive', 'accepted')
      await clock.advance(60_000)
      call()
      call()
      t.equal(inner.sent.length, says === 'alive' ? 4 : 3, 'the next is sent')
    })
  }
})

await t.test('a changed key', async (t) => {
  await t.test('gets its chance at once', async (t) => {
    const { end, key, inner } = coolDown()
    await end(refused())
    key.current = 'second'
    t.equal((await end(ok)).state, 'ok')
    t.equal(inner.sent.length, 2)
  })

  await t.test('begins anew when it is refused as well', async (t) => {
    const { end, key, heldBackFor, told } = coolDown()
    await end(refused())
    await heldBackFor()
    await end(refused())
    key.current = 'second'
    await end(refused())
    t.equal(await heldBackFor(), 5_000)
    t.equal(told.length, 2, 'and the operator is told of it')
  })

  await t.test('is not held back for what its predecessor is refused late', async (t) => {
    const { end, key, call, inner, told } = coolDown()
    const old = call()
    key.current = 'second'
    await inner.last.fail(refused()())
    t.match(old.error, { code: 'UpstreamRefused', retryAfterMs: 5_000 })
    t.equal((await end(ok)).state, 'ok')
    t.strictSame(told, [], 'nor is that news')
  })

  await t.test('is not let off for what its predecessor is refused late', async (t) => {
    const { end, key, call, inner, heldBackFor } = coolDown()
    call()
    const old = inner.last
    key.current = 'second'
    await end(throttled(60_000))
    await old.fail(refused()())
    t.equal(await heldBackFor(), 60_000)
  })

  await t.test('is not accepted because its predecessor still was', async (t) => {
    const { end, key, call, inner, told, heldBackFor } = coolDown()
    call()
    const old = inner.last
    key.current = 'second'
    await end(refused())
    await old.answer()
    t.notOk(told.includes('accepts'))
    t.equal(await heldBackFor(), 5_000)
  })
})

await t.test('the operator', async (t) => {
  await t.test('is told once when upstream begins to refuse, and once when it accepts again', async (t) => {
    const { end, heldBackFor, told, clock } = coolDown()
    for (let i = 0; i < 3; i++) {
      await end(throttled())
      await end(ok)
      await heldBackFor()
    }
    t.match(told, [{ status: 429, waitMs: 5_000, diagnosis: /UPSTREAM_MAX_QPS/ }])
    for (let i = 0; i < 3; i++) await end(ok)
    t.strictSame(told.slice(1), ['accepts'])
    await clock.advance(1)
    await end(throttled(7_000))
    t.match(told.slice(2), [{ status: 429, waitMs: 7_000 }])
  })

  await t.test('is told again when there is another cause', async (t) => {
    const { end, heldBackFor, told } = coolDown()
    for (const how of [throttled(), refused('over_quota'), refused('over_quota'), throttled()]) {
      await end(how)
      await heldBackFor()
    }
    t.match(told, [{ status: 429 }, { status: 403, diagnosis: /quota/ }, { status: 429 }])
    t.equal(told.length, 3)
  })

  for (const [kind, status, before, diagnosis] of [
    ['over_quota', 403, null, /credit of the key is used up: set UPSTREAM_QUOTA/],
    ['over_quota', 403, ok, /credit of the key is used up: set UPSTREAM_QUOTA/],
    ['throttled', 429, null, /lower UPSTREAM_MAX_QPS/],
    ['throttled', 403, ok, /lower UPSTREAM_MAX_QPS/],
    ['referer', 403, null, /without a domain whitelist/],
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
      before === null ? 'first of all' : before === ok ? 'after an answer' : `after ${before()?.outcome}`
    await t.test(`reads of ${status} (${kind}), ${history}: ${diagnosis.source}`, async (t) => {
      const { end, told } = coolDown()
      if (before !== null) await end(before)
      await end(refused(kind, status))
      t.match(told, [{ status, diagnosis }])
    })
  }

  await t.test('reads that a key is wrong, though the one before it worked', async (t) => {
    const { end, key, told } = coolDown()
    await end(ok)
    key.current = 'second'
    await end(refused())
    t.match(told, [{ diagnosis: /most likely wrong/ }])
  })
})
