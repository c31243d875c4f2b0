/*
 * Without a quota nothing differs from the build before each station got a TTL of its own. The digest is of what that
 * build returned for the same lookups: this test ran there, with `effectiveTtlMs: () => TIMES.ttlMs` for `pacing`.
 */
import { createHash } from 'node:crypto'
import t from 'tap'
import type { Availability } from '../../src/availability/model.ts'
import { Cache } from '../../src/cache/cache.ts'
import { ServiceError } from '../../src/errors.ts'
import { settled, TestClock } from '../support/clock.ts'
import { connector, level, station } from '../support/stations.ts'
import { TIMES } from './setup.ts'

const LOOKUPS = 3_000
const OF_EARLIER_BUILD = '27a875b67c29734bd83e7ccc6704e12c25378aed92e759155cea31d65e3c7970'

/** The same numbers in every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Answers that change, are empty or are errors, by station and time. */
function upstreamOf(clock: TestClock) {
  let calls = 0
  const load = async (id: string): Promise<Availability> => {
    calls++
    const number = Number(id.slice(1))
    const minute = Math.floor(clock.now() / 60_000)
    if (number % 10 === 0) return station(id)
    if ((number + minute) % 7 === 0) throw new ServiceError('UpstreamFailed', { reason: 'scripted' })
    return station(id, connector('Chademo', level(50, (minute + number) % 5)))
  }
  return { load, calls: () => calls }
}

await t.test('without a quota every lookup ends as in the build before', async (t) => {
  const clock = new TestClock()
  const random = randomNumbers(1)
  const upstream = upstreamOf(clock)
  const cache = new Cache(
    { ...TIMES, maxEntries: 30, maxBytes: 1_000_000 },
    {
      load: upstream.load,
      clock,
      random: randomNumbers(2),
      pacing: null,
      observer: {
        lookedUp: () => {},
        evicted: () => {},
        emptyDoubted: () => {},
        answerStored: () => {},
      },
    },
  )
  const ends: string[] = []
  for (let i = 0; i < LOOKUPS; i++) {
    if (random() < 0.3) await clock.advance(Math.floor(random() ** 3 * 60_000))
    const id = `s${Math.floor(random() ** 2 * 40)}`
    try {
      const { result, ageMs, ttlMs, wasExpired, isStored } = await cache.get(id)
      ends.push([id, result, ageMs, ttlMs, wasExpired, isStored].join(' '))
    } catch (error) {
      ends.push(`${id} ${(error as ServiceError).code}`)
    }
    await settled()
  }
  const results = new Set(ends.map((end) => end.split(' ')[1]))
  t.strictSame(results, new Set(['UpstreamFailed', 'hit', 'miss', 'stale', 'stale_error']))
  const digest = createHash('sha256')
    .update(`${ends.join('\n')}\n${upstream.calls()}`)
    .digest('hex')
  t.equal(digest, OF_EARLIER_BUILD)
})
