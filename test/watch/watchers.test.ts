import t from 'tap'
import { Cache } from '../../src/cache/cache.ts'
import { UNPACED } from '../../src/cache/entry-store.ts'
import type { StationPacing } from '../../src/cache/pacing-port.ts'
import { ClientQuotaError, ServiceError, UnknownIdError } from '../../src/errors.ts'
import { CircuitBreaker } from '../../src/upstream/policies/circuit-breaker.ts'
import { RefreshInterval } from '../../src/watch/refresh-interval.ts'
import { Watchers } from '../../src/watch/watchers.ts'
import { TIMES } from '../cache/setup.ts'
import { settled, TestClock } from '../support/clock.ts'
import { ScriptedSource } from '../support/scripted-source.ts'
import { connector, level, station } from '../support/stations.ts'
import { failure } from '../upstream/doubles.ts'

const MINUTE = 60_000

/** Watchers of a real cache over a scripted source. */
function setupWatchers(
  options: {
    ttlMs?: number
    maxEntries?: number
    staleWhileRevalidateMs?: number
    pacing?: StationPacing
  } = {},
) {
  const clock = new TestClock()
  const source = new ScriptedSource(clock.now)
  const settings = { ...TIMES, maxEntries: 100_000, maxBytes: 1e9, ...options }
  let isPaused = false
  let stored: Watchers['stored'] = () => {}
  const lookups: string[] = []
  const cache: Cache = new Cache(settings, {
    load: source.load,
    clock,
    random: () => 0,
    pacing: options.pacing ?? null,
    observer: {
      lookedUp: (result) => void lookups.push(result),
      evicted: () => {},
      emptyDoubted: () => {},
      answerStored: (answer) => stored(answer),
    },
  })
  const watchers = new Watchers(settings, { cache, clock, isPaused: () => isPaused })
  stored = watchers.stored
  cache.purge.onPurged(watchers.purged)
  const events: string[] = []
  const watch = (id: string, name = id) =>
    watchers.watch(id, {
      answered: ({ answer }) =>
        void events.push(`${name} ${(JSON.parse(answer.json) as { call: number }).call}`),
      failed: (error) => void events.push(`${name} ${error.code}`),
    })
  return { clock, source, cache, watchers, watch, events, lookups, pause: (on: boolean) => (isPaused = on) }
}

/** The error of a lookup; null if it was answered. */
async function codeOf(cache: Cache): Promise<string | null> {
  try {
    await cache.get('a')
    return null
  } catch (error) {
    return (error as ServiceError).code
  }
}

await t.test('a watched station is loaded once per interval, however many watch it', async (t) => {
  const { clock, source, watch, events, lookups, watchers } = setupWatchers()
  source.answerAll()
  const stop = Array.from({ length: 100 }, (_, i) => watch('a', `${i}`))
  await clock.advance(1)
  t.equal(source.calls.length, 1)
  t.equal(events.length, 100)
  t.ok(source.calls[0]?.options.lowPriority)
  await clock.advance(10 * MINUTE)
  t.ok(source.calls.length >= 5 && source.calls.length <= 31, `${source.calls.length} calls`)
  t.equal(watchers.stations, 1)
  const calls = source.calls.length
  for (const end of stop) end()
  await clock.advance(60 * MINUTE)
  t.equal(source.calls.length, calls, 'none without a watcher')
  t.equal(watchers.stations, 0)
  t.equal(clock.pending, 0)
  t.strictSame(lookups, [], 'a refresh is no lookup')
})

await t.test(
  'the interval of a station of unknown rate is a minute, and from three minutes on the TTL',
  async (t) => {
    const same = station('a', connector('Type2', level(22)))
    const timesFor = async (ttlMs: number) => {
      const { clock, source, watch } = setupWatchers({ ttlMs })
      source.always = (call) => call.answerWith(same)
      watch('a')
      await clock.advance(1)
      await clock.advance(3 * MINUTE)
      return source.calls.map(({ at }) => at - (source.calls[0]?.at ?? 0)).slice(0, 2)
    }
    t.strictSame(await timesFor(1_000), [0, MINUTE])
    t.strictSame(await timesFor(100_000), [0, 100_000])
    t.strictSame(await timesFor(180_000), [0, 180_000])
  },
)

await t.test('the interval follows the learned rate, between the TTL and three minutes', (t) => {
  const rate = (changes: number, hours: number) => {
    const learned = new RefreshInterval()
    for (let i = 0; i < 100; i++) learned.observe((hours * 3_600_000) / 100, i < changes)
    return Math.round(learned.ms(1_000) / 1_000)
  }
  t.strictSame([rate(0, 0), rate(0, 24), rate(10, 1), rate(100, 1)], [60, 180, 23, 15])
  t.equal(new RefreshInterval().ms(90_000), 90_000)
  t.end()
})

await t.test(
  'a request of a client brings its answer to the watchers at once, and moves the refresh',
  async (t) => {
    const { clock, source, cache, watch, events } = setupWatchers()
    source.answerAll()
    watch('a')
    await clock.advance(45_000)
    await cache.get('a')
    await settled()
    await cache.get('a') // the stale one was served, the refresh has ended
    t.strictSame(events, ['a 1', 'a 2'])
    await clock.advance(29_000)
    t.equal(source.calls.length, 2)
  },
)

await t.test('while paused only stations without an answer are loaded', async (t) => {
  const { clock, source, watch, pause, events } = setupWatchers()
  source.answerAll()
  watch('a')
  await clock.advance(1)
  pause(true)
  watch('b')
  await clock.advance(4 * MINUTE)
  t.strictSame(events, ['a 1', 'b 2'])
  pause(false)
  await clock.advance(10_000)
  t.strictSame(events.toSorted(), ['a 1', 'a 3', 'b 2', 'b 4'])
})

await t.test('a station is a problem only without an answer that may be served', async (t) => {
  const { clock, source, watch, events } = setupWatchers()
  source.failAll('UpstreamFailed')
  watch('a')
  await clock.advance(1)
  t.strictSame(events, ['a UpstreamFailed'])
  source.answerAll()
  await clock.advance(5_000)
  t.equal(events.at(-1)?.slice(0, 2), 'a ')
  const answered = events.length
  source.failAll('UpstreamFailed')
  await clock.advance(TIMES.staleIfErrorMs)
  t.equal(events.length, answered, 'the stale answer may still be served')
  await clock.advance(5 * MINUTE)
  t.equal(events.at(-1), 'a UpstreamFailed')
  watch('a', 'later')
  t.equal(events.at(-1), 'later UpstreamFailed', 'a known problem is passed on at once')
})

await t.test('a rejected station is a problem, though an older answer is cached', async (t) => {
  const { clock, source, watch, events, watchers } = setupWatchers()
  source.answerAll()
  watch('a')
  await clock.advance(1)
  source.failAll('NotFound')
  await clock.advance(MINUTE)
  t.strictSame(events, ['a 1', 'a NotFound'])
  t.equal(watchers.current('a'), null)
  watch('a', 'later')
  t.equal(events.at(-1), 'later NotFound')
  source.answerAll()
  await clock.advance(2 * MINUTE)
  t.match(events.slice(3).join(), /^a \d+,later \d+/)
})

await t.test(
  'a station that a lookup found rejected, or that was purged, is loaded for a new watcher',
  async (t) => {
    const { clock, source, cache, watch, watchers, events } = setupWatchers({ staleWhileRevalidateMs: 0 })
    source.answerAll()
    watch('a')
    await clock.advance(TIMES.ttlMs + 1)
    source.failAll('NotFound')
    t.equal(await codeOf(cache), 'NotFound')
    t.equal(watchers.current('a'), null)
    watch('a', 'later')
    await clock.advance(1)
    t.strictSame(events, ['a 1', 'a NotFound', 'later NotFound'])

    source.answerAll()
    watch('b')
    await clock.advance(1)
    await cache.purge.one('b')
    watch('b', 'new')
    await clock.advance(1)
    t.strictSame(new Set(events.slice(-2)), new Set(['b 4', 'new 4']))
  },
)

await t.test('watched stations that are purged are refreshed at once, and others are not', async (t) => {
  const { clock, source, cache, watch, events } = setupWatchers()
  source.answerAll()
  watch('a')
  watch('b')
  await clock.advance(1)
  await cache.purge.one('a')
  await cache.purge.one('not watched')
  await clock.advance(1)
  t.strictSame(events, ['a 1', 'b 2', 'a 3'])
  await cache.purge.all()
  await clock.advance(1)
  t.strictSame(events.slice(3), ['a 4', 'b 5'])
})

await t.test(
  'while the quota is exhausted an answer is current as long as a lookup would return it',
  async (t) => {
    const ttlMs = TIMES.ttlMs
    const pacing = {
      ttlMs: () => ttlMs,
      served() {},
      waited() {},
      first: () => UNPACED,
      after: () => UNPACED,
    }
    const { clock, source, cache, watch, watchers, events } = setupWatchers({ pacing })
    source.answerAll()
    watch('a')
    await clock.advance(1)
    source.always = () => {
      throw new ServiceError('QuotaExhausted', { retryAfterMs: 60_000 })
    }
    await clock.advance(TIMES.maxTtlMs + TIMES.staleIfErrorMs - MINUTE)
    watch('a', 'later')
    t.strictSame(new Set(events), new Set(['a 1']))
    t.ok(watchers.current('a'))
    t.equal((await cache.get('a')).result, 'stale_error')
    await clock.advance(2 * MINUTE)
    t.equal(await codeOf(cache), 'QuotaExhausted')
    t.strictSame(new Set(events.slice(-2)), new Set(['a QuotaExhausted', 'later QuotaExhausted']))
  },
)

await t.test(
  'an error of all stations pauses the refreshes and is reported for those without an answer',
  async (t) => {
    const { clock, source, watch, events } = setupWatchers()
    source.always = () => {
      throw new ServiceError('QuotaExhausted', { retryAfterMs: 10_000 })
    }
    for (const id of ['a', 'b', 'c']) watch(id)
    await clock.advance(1)
    t.ok(source.calls.length <= 3)
    t.strictSame(new Set(events), new Set(['a QuotaExhausted', 'b QuotaExhausted', 'c QuotaExhausted']))
    const calls = source.calls.length
    await clock.advance(9_000)
    t.equal(source.calls.length, calls)
    source.answerAll()
    await clock.advance(2_000)
    t.equal(source.calls.length, calls + 3)
  },
)

await t.test('an id that is held back as unknown is a problem, and delays no other station', async (t) => {
  const { clock, source, watch, events } = setupWatchers()
  const knownCalls = () => source.calls.filter(({ id }) => id === 'known').length
  source.always = (call) => {
    if (call.id === 'known') call.answer()
    else throw new UnknownIdError(600_000)
  }
  for (let i = 0; i < 30; i++) watch(`made-up-${i}`)
  watch('known')
  await clock.advance(1)
  t.strictSame([events.length, knownCalls()], [31, 1])
  t.equal(events.filter((event) => event.endsWith('QuotaExhausted')).length, 30)
  await clock.advance(MINUTE - 1)
  t.strictSame([source.calls.length, knownCalls()], [32, 2])
  await clock.advance(1_000)
  t.equal(source.calls.length, 62, 'asked again a minute later')
})

await t.test('a stream alone ends an outage: the probe of an open circuit is a refresh', async (t) => {
  const clock = new TestClock()
  const source = new ScriptedSource(clock.now)
  const observer = { circuitChanged: () => {}, upstreamHeldBack: () => {} }
  const breaker = new CircuitBreaker({ clock, observer })
  let stored: Watchers['stored'] = () => {}
  const cache = new Cache(
    { ...TIMES, maxEntries: 100, maxBytes: 1e9 },
    {
      load: breaker.policy(source.load),
      clock,
      random: () => 0,
      pacing: null,
      observer: {
        lookedUp: () => {},
        evicted: () => {},
        emptyDoubted: () => {},
        answerStored: (answer) => stored(answer),
      },
    },
  )
  const watchers = new Watchers(TIMES, { cache, clock, isPaused: () => breaker.isBlocking })
  stored = watchers.stored
  source.answerAll()
  const ids = Array.from({ length: 10 }, (_, i) => `s${i}`)
  for (const id of ids) watchers.watch(id, { answered: () => {}, failed: () => {} })
  await clock.advance(1)
  source.always = () => {
    throw failure('server_error')
  }
  await clock.advance(MINUTE + 100)
  t.equal(breaker.state, 'open')
  const calls = source.calls.length
  await clock.advance(20_000)
  t.ok(source.calls.length - calls <= 10, 'at most one probe for each opening')
  source.answerAll()
  await clock.advance(40_000)
  t.equal(breaker.state, 'closed')
  const ages = ids.map((id) => watchers.current(id)?.ageMs ?? Infinity)
  t.ok(Math.max(...ages) < 40_000, ages.join(', '))
})

await t.test('the refresh follows the TTL in force, also when it changes after the answer', async (t) => {
  let ttlMs = 10 * MINUTE
  const pacing = { ttlMs: () => ttlMs, served() {}, waited() {}, first: () => UNPACED, after: () => UNPACED }
  const { clock, source, watch, cache } = setupWatchers({ pacing, maxEntries: 10 })
  source.answerAll()
  const callsOf = (id: string) => source.calls.filter((call) => call.id === id).length
  watch('a')
  await clock.advance(5 * MINUTE)
  ttlMs = 20 * MINUTE
  await clock.advance(14 * MINUTE)
  t.equal(callsOf('a'), 1, 'longer')
  await clock.advance(2 * MINUTE)
  t.equal(callsOf('a'), 2)
  ttlMs = 4 * MINUTE
  await clock.advance(6 * MINUTE)
  t.equal(callsOf('a'), 3, 'shorter')
  ttlMs = 10 * MINUTE
  await clock.advance(MINUTE)
  for (let i = 0; i < 10; i++) await cache.get(`x${i}`)
  t.equal(cache.peek('a'), null)
  await clock.advance(5 * MINUTE)
  t.equal(callsOf('a'), 3, 'an eviction does not bring it forward')
  await clock.advance(2 * MINUTE)
  t.equal(callsOf('a'), 4)
})

await t.test('stations wait for the rate limit without a problem while others are answered', async (t) => {
  const { clock, source, watch, events } = setupWatchers()
  let left = 4
  source.always = (call) => {
    if (left-- > 0) call.answer()
    else throw new ServiceError('TooManyRequests', { retryAfterMs: 1_000 })
  }
  const ids = Array.from({ length: 30 }, (_, i) => `s${i}`)
  for (const id of ids) watch(id)
  for (let second = 0; second < 20; second++) {
    await clock.advance(1_000)
    left = 4
  }
  t.equal(events.length, 30)
  t.notOk(events.some((event) => event.includes('TooMany')))
})

await t.test(
  'no station is a problem because of the rate limit while the first calls are in flight',
  async (t) => {
    const { clock, source, watch, events } = setupWatchers()
    let left = 4
    source.always = () => {
      if (left-- <= 0) throw new ServiceError('TooManyRequests', { retryAfterMs: 200 })
    }
    for (let i = 0; i < 8; i++) watch(`s${i}`)
    await clock.advance(100)
    t.equal(events.length, 0)
    source.answerAll()
    for (const call of source.calls.slice(0, 4)) call.answer()
    await clock.advance(1_000)
    t.equal(events.length, 8)
    t.notOk(events.some((event) => event.includes('TooMany')))
  },
)

await t.test(
  "a call that a client's share of the quota rejects is made again for the watchers",
  async (t) => {
    const { clock, source, cache, watch, events } = setupWatchers()
    const code = codeOf(cache)
    watch('a')
    watch('b')
    await clock.advance(1)
    t.strictSame(
      source.calls.map(({ id }) => id),
      ['a', 'b'],
      'the call of the client is joined',
    )
    await source.calls[0]?.failAndSettle(new ClientQuotaError(60_000))
    t.equal(await code, 'QuotaExhausted')
    t.strictSame([events, source.calls.length], [[], 3])
    await source.calls[2]?.answerAndSettle()
    t.strictSame(events, ['a 3'])
  },
)

await t.test('a cool-down is a problem at once for stations without an answer', async (t) => {
  const { clock, source, watch, events } = setupWatchers()
  source.answerAll()
  watch('a')
  await clock.advance(1)
  source.always = () => {
    throw new ServiceError('TooManyRequests', { retryAfterMs: 60_000 })
  }
  watch('b')
  await clock.advance(1)
  t.strictSame(events, ['a 1', 'b TooManyRequests'])
})

await t.test('while requests of clients take the rate limit, stations wait without a problem', async (t) => {
  const { clock, source, cache, watch, events } = setupWatchers()
  source.always = (call) => {
    if (!call.options.lowPriority || call.id === 'first') call.answer()
    else throw new ServiceError('TooManyRequests', { retryAfterMs: 1_000 })
  }
  for (const id of ['first', 'a', 'b']) watch(id)
  for (let second = 0; second < 29; second++) {
    await cache.get(`of-a-client-${second}`)
    await clock.advance(1_000)
  }
  t.equal(events.length, 1)
  for (let second = 0; second < 5; second++) {
    await cache.get(`of-a-later-client-${second}`)
    await clock.advance(1_000)
  }
  t.strictSame(new Set(events.slice(1)), new Set(['a TooManyRequests', 'b TooManyRequests']))
})

await t.test('stations that no client watches are loaded after those of clients', async (t) => {
  const { clock, source, watch, watchers, events } = setupWatchers()
  const silent = { isBackground: true, answered: () => {}, failed: () => {} }
  for (let i = 0; i < 30; i++) watchers.watch(`of-the-file-${i}`, silent)
  await clock.advance(1)
  t.equal(source.calls.length, 8)
  const stop = watch('of-the-file-29')
  watch('a')
  await clock.advance(1)
  await source.calls[0]?.answerAndSettle()
  await source.calls[1]?.answerAndSettle()
  t.strictSame(
    source.calls.slice(8).map(({ id }) => id),
    ['of-the-file-29', 'a'],
  )
  stop()
  source.answerAll()
  for (const call of source.calls) call.answer()
  await clock.advance(1)
  t.strictSame([source.calls.length, events.length], [31, 1])
})

await t.test('a rejected id is asked again after CACHE_EMPTY_TTL', async (t) => {
  const { clock, source, watch, events } = setupWatchers()
  source.failAll('NotFound')
  watch('a')
  await clock.advance(59_000)
  t.strictSame([events, source.calls.length], [['a NotFound'], 1])
  await clock.advance(10_000)
  t.equal(source.calls.length, 2)
})

await t.test('at most eight refreshes are in flight', async (t) => {
  const { clock, source, watch } = setupWatchers()
  for (let i = 0; i < 50; i++) watch(`s${i}`)
  await clock.advance(1)
  t.equal(source.calls.length, 8)
  await source.calls[0]?.answerAndSettle()
  t.equal(source.calls.length, 9)
})

await t.test('watching keeps a station from eviction, and does not after it', async (t) => {
  const { clock, source, cache, watch } = setupWatchers({ maxEntries: 10 })
  source.answerAll()
  const stop = watch('a')
  const flood = async (prefix: string) => {
    for (let minute = 0; minute < 5; minute++) {
      for (let i = 0; i < 5; i++) await cache.get(`${prefix}${minute}-${i}`)
      await clock.advance(MINUTE)
    }
  }
  await clock.advance(1)
  await flood('x')
  t.ok(cache.peek('a'))
  stop()
  await flood('y')
  t.equal(cache.peek('a'), null)
})
