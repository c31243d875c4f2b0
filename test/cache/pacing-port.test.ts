import t from 'tap'
import { UNPACED } from '../../src/cache/entry-store.ts'
import type { StationPacing } from '../../src/cache/pacing-port.ts'
import { MIN_SERVED_FOR_STALE } from '../../src/cache/pacing-port.ts'
import { Cache } from '../../src/cache/cache.ts'
import { connector, level, station } from '../support/stations.ts'
import { TestClock } from '../support/clock.ts'
import { ScriptedSource } from '../support/scripted-source.ts'
import { lookup, setup, TIMES } from './setup.ts'

const { ttlMs, staleIfErrorMs } = TIMES
const maxTtlMs = 3_600_000
/** Station a with this many points available. */
const oneConnector = (available: number) => station('a', connector('Tesla', level(50, available)))

/** A cache whose pacing gives every station this TTL and records what the cache reports. */
function setupPaced(pacedTtlMs = ttlMs) {
  const clock = new TestClock()
  const source = new ScriptedSource(clock.now)
  const reports: unknown[] = []
  const pacing: StationPacing = {
    ttlMs: () => pacedTtlMs,
    served: (state, ageMs) => {
      state.served++
      reports.push(['served', ageMs])
    },
    waited: () => void reports.push(['waited']),
    first: () => ({ ...UNPACED }),
    after: (state, { differs, gapMs }) => {
      reports.push(['after', state.served, differs, gapMs])
      return { ...UNPACED }
    },
  }
  const cache = new Cache(
    { ...TIMES, maxTtlMs, maxEntries: 100, maxBytes: 1e7 },
    {
      load: source.load,
      clock,
      random: () => 0,
      pacing,
      observer: { lookedUp: () => {}, evicted: () => {}, emptyDoubted: () => {}, answerStored: () => {} },
    },
  )
  const get = async () => cache.get('a')
  return { cache, clock, source, reports, get }
}

await t.test('pacing counts requests from the cache with their ages, and requests that waited', async (t) => {
  const { clock, source, reports, get } = setupPaced()
  source.always = (call) => call.answerWith(oneConnector(3))
  await get()
  await clock.advance(10_000)
  await get()
  await get()
  await clock.advance(ttlMs)
  await get()
  t.strictSame(reports, [
    ['waited'],
    ['served', 10_000],
    ['served', 10_000],
    ['after', 2, false, 10_000 + ttlMs],
    ['waited'],
  ])
})

await t.test('pacing compares the counts of the connectors of successive answers', async (t) => {
  const { clock, source, reports, get } = setupPaced()
  source.always = (call) => call.answerWith(oneConnector(source.calls.length))
  await get()
  await clock.advance(ttlMs + 1)
  await get()
  t.strictSame(reports[1], ['after', 0, true, ttlMs + 1])
})

await t.test(
  'under a quota a stale answer is returned at once only after ten requests from the cache',
  async (t) => {
    const outcomes = []
    for (const requests of [MIN_SERVED_FOR_STALE - 1, MIN_SERVED_FOR_STALE, MIN_SERVED_FOR_STALE + 1]) {
      const { clock, source, get } = setupPaced()
      source.answerAll()
      await get()
      for (let i = 0; i < requests; i++) await get()
      await clock.advance(ttlMs + 1)
      outcomes.push((await get()).result)
    }
    t.strictSame(outcomes, ['miss', 'stale', 'stale'])
  },
)

await t.test(
  'without calls in the quota a stale answer is served up to the maximum TTL plus stale-if-error',
  async (t) => {
    const outcomes = []
    for (const ageMs of [maxTtlMs + staleIfErrorMs, maxTtlMs + staleIfErrorMs + 1]) {
      const { clock, source, get } = setupPaced()
      source.answerAll()
      await get()
      await clock.advance(ageMs)
      source.failAll('QuotaExhausted')
      outcomes.push(
        await get().then(
          ({ result }) => result,
          (error: unknown) => (error as { code: string }).code,
        ),
      )
    }
    t.strictSame(outcomes, ['stale_error', 'QuotaExhausted'])
  },
)

await t.test(
  'a failure of upstream does not extend the time in which a stale answer is served',
  async (t) => {
    const { clock, source, get } = setupPaced()
    source.answerAll()
    await get()
    await clock.advance(ttlMs + staleIfErrorMs + 1)
    source.failAll('UpstreamFailed')
    const code = await get().then(
      () => 'answered',
      (error: unknown) => (error as { code: string }).code,
    )
    t.equal(code, 'UpstreamFailed')
  },
)

await t.test('answers of upstream are reported as first, same or different', async (t) => {
  const ctx = setup()
  const states = [1, 1, 2, 2]
  ctx.source.always = (call) => call.answerWith(oneConnector(states[ctx.source.calls.length - 1] ?? 0))
  for (let i = 0; i < states.length; i++) {
    await lookup(ctx)
    await ctx.clock.advance(10 * ttlMs)
  }
  t.strictSame(
    ctx.stored.map(({ change }) => change),
    ['first', 'same', 'different', 'same'],
  )
})
