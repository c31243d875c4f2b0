import t from 'tap'
import { Answer } from '../../src/cache/answer.ts'
import { UNPACED } from '../../src/cache/entry-store.ts'
import type { StationPacing } from '../../src/cache/pacing-port.ts'
import { knownState, MIN_SERVED_FOR_STALE, validState, withState } from '../../src/cache/pacing-port.ts'
import { Cache } from '../../src/cache/cache.ts'
import { connector, level, station } from '../support/stations.ts'
import { TestClock } from '../support/clock.ts'
import { ScriptedSource } from '../support/scripted-source.ts'
import { lookup, setup, TIMES } from './setup.ts'
import { KNOWN } from '../support/station-state.ts'

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

const entryWith = (state: typeof UNPACED, more: object = {}) => ({
  ...state,
  answer: new Answer(oneConnector(1)),
  receivedAt: 0,
  startedAt: 0,
  jitter: 1,
  version: 'v',
  fromPeer: true,
  doubt: null,
  changedAt: 0,
  lastUsedAt: 0,
  ...more,
})

/** A pacing that has learned this at the next answer of a station. */
const learning = (learned: Partial<typeof UNPACED>): StationPacing => ({
  ttlMs: () => ttlMs,
  served: () => {},
  waited: () => {},
  first: () => ({ ...UNPACED }),
  after: () => ({ ...UNPACED, ...learned }),
})

await t.test('the first answer of a peer brings what the peer knows of the station', (t) => {
  t.match(withState(entryWith(KNOWN), null, learning({})), KNOWN)
  t.match(withState(entryWith(KNOWN, { fromPeer: false }), null, learning({})), UNPACED)
  t.end()
})

await t.test('of what a peer and this replica know the longer observation is kept', (t) => {
  const present = entryWith(UNPACED)
  const { changes, watchedS } = KNOWN
  t.match(withState(entryWith(KNOWN), present, learning({ watchedS: watchedS - 1, changes: 1 })), {
    ...KNOWN,
    served: 0,
    servedAgesS: 0,
  })
  t.match(withState(entryWith(KNOWN), present, learning({ watchedS, changes: 1 })), { changes: 1 })
  t.match(withState(entryWith(KNOWN, { fromPeer: false }), present, learning({ changes: 2 })), { changes: 2 })
  t.equal(changes, 3)
  t.end()
})

await t.test('what is known of a station is shared unless it is nothing', (t) => {
  t.equal(knownState(entryWith(UNPACED)), null)
  t.strictSame(knownState(entryWith(KNOWN)), KNOWN)
  t.end()
})

await t.test('a state that cannot be is that of an unknown station', (t) => {
  const limit = 2 ** 30 - 1
  const states = [
    { ...KNOWN, served: limit },
    { ...KNOWN, evidence: 0 },
    { ...KNOWN, weight1024ths: 1 },
  ]
  const invalid = [
    { ...KNOWN, served: limit + 1 },
    { ...KNOWN, served: -1 },
    { ...KNOWN, evidence: -1 },
    { ...KNOWN, weight1024ths: 0 },
    { ...KNOWN, watchedS: 0.5 },
    { ...KNOWN, changes: NaN },
    undefined,
  ]
  t.strictSame(states.map(validState), states)
  t.strictSame(
    invalid.map(validState),
    invalid.map(() => UNPACED),
  )
  t.end()
})
