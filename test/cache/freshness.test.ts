import t from 'tap'
import { EMPTIES_TO_BELIEVE } from '../../src/cache/empty-doubt.ts'
import type { CacheResult } from '../../src/events.ts'
import { ttlFactor } from '../../src/cache/freshness.ts'
import { settled } from '../support/clock.ts'
import { connector, level } from '../support/stations.ts'
import type { Outcome } from './setup.ts'
import {
  coalesced,
  FRESH,
  hit,
  lookup,
  miss,
  outcomesOf,
  repeat,
  REVALIDATING,
  seeded,
  setup,
  setupAged,
  setupAgedEmpty,
  stale,
  startLookup,
  TIMES,
  USABLE,
  waiters,
} from './setup.ts'

const { ttlMs, emptyTtlMs, staleWhileRevalidateMs, staleIfErrorMs } = TIMES

function ttlLeft(outcome: Outcome): number | null {
  return 'ttlMs' in outcome ? outcome.ttlMs : null
}

await t.test('the age of an entry decides what a lookup gets', async (t) => {
  await t.test('a lookup without an entry waits for a call', async (t) => {
    const ctx = setup()
    const waiter = startLookup(ctx)
    await settled()
    t.equal(waiter.ended, null)
    t.strictSame(ctx.source.last.options, { lowPriority: false, hasStale: false, isKnown: false })
    ctx.source.last.answer()
    t.strictSame(await waiter.outcome, miss(1))
  })

  for (const ageMs of [0, 1, FRESH - 1, FRESH]) {
    await t.test(`an entry ${ageMs} ms old is a hit without a call`, async (t) => {
      const ctx = await setupAged(ageMs)
      t.strictSame(await lookup(ctx), hit(1, ageMs))
      t.equal(ctx.source.calls.length, 1)
    })
  }

  for (const ageMs of [FRESH + 1, REVALIDATING - 1, REVALIDATING]) {
    await t.test(`an entry ${ageMs} ms old is served stale while one refresh runs`, async (t) => {
      const ctx = await setupAged(ageMs)
      t.strictSame(await lookup(ctx), stale(1, ageMs))
      t.equal(ctx.source.calls.length, 2)
      t.strictSame(ctx.source.last.options, { lowPriority: true, hasStale: true, isKnown: true })
      ctx.source.last.answer()
      await settled()
      t.strictSame(await lookup(ctx), hit(2, 0))
      t.equal(ctx.source.calls.length, 2)
    })
  }

  for (const ageMs of [REVALIDATING + 1, USABLE, USABLE + 1, 10 * USABLE]) {
    await t.test(`a lookup of an entry ${ageMs} ms old waits for a call`, async (t) => {
      const ctx = await setupAged(ageMs)
      const waiter = startLookup(ctx)
      await settled()
      t.equal(waiter.ended, null)
      t.strictSame(ctx.source.last.options, { lowPriority: false, hasStale: true, isKnown: true })
      ctx.source.last.answer()
      t.strictSame(await waiter.outcome, miss(2, true))
      t.strictSame(await lookup(ctx), hit(2, 0))
      t.equal(ctx.source.calls.length, 2)
    })
  }

  await t.test('a lookup that need not wait returns a value and does not call onWait', async (t) => {
    const results: CacheResult[] = []
    for (const ageMs of [0, FRESH, REVALIDATING]) {
      const { cache } = await setupAged(ageMs)
      const value = cache.get('a', () => {
        throw new Error('onWait was called')
      })
      if (!(value instanceof Promise)) results.push(value.result)
    }
    t.strictSame(results, ['hit', 'hit', 'stale'])
  })

  await t.test('an entry is gone after its TTL if there are no stale windows', async (t) => {
    const ctx = await setupAged(FRESH + 1, { staleWhileRevalidateMs: 0, staleIfErrorMs: 0 })
    ctx.source.failAll()
    t.strictSame(await lookup(ctx), { error: 'UpstreamFailed' })
  })
})

await t.test('a station without connectors has a TTL of its own', async (t) => {
  await t.test(
    'an empty station is fresh for the empty TTL, then stale for as long as any other',
    async (t) => {
      const ages = [emptyTtlMs, emptyTtlMs + 1, emptyTtlMs + staleWhileRevalidateMs]
      const seen = []
      for (const ageMs of ages) {
        const ctx = await setupAgedEmpty(ageMs)
        const outcome = await lookup(ctx)
        seen.push([(outcome as { result: string }).result, ttlLeft(outcome), ctx.source.calls.length])
      }
      t.strictSame(seen, [
        ['hit', 0, 1],
        ['stale', -1, 2],
        ['stale', -staleWhileRevalidateMs, 2],
      ])
    },
  )

  await t.test('an empty station may replace an error until the end of stale-if-error', async (t) => {
    const seen = []
    for (const ageMs of [emptyTtlMs + staleIfErrorMs, emptyTtlMs + staleIfErrorMs + 1]) {
      const ctx = await setupAgedEmpty(ageMs)
      ctx.source.failAll()
      seen.push(await lookup(ctx))
    }
    t.match(seen, [{ result: 'stale_error' }, { error: 'UpstreamFailed' }])
  })

  await t.test('the empty TTL may be shorter than the TTL', async (t) => {
    const ctx = await setupAgedEmpty(1_001, { emptyTtlMs: 1_000 })
    t.match(await lookup(ctx), { result: 'stale', call: 1 })
  })

  await t.test('a station that gets connectors, or loses them, changes its TTL', async (t) => {
    const ctx = await setupAgedEmpty(emptyTtlMs + 1)
    ctx.source.answerAll()
    await lookup(ctx)
    t.equal(ttlLeft(await lookup(ctx)), ttlMs)
    ctx.source.answerAllEmpty()
    for (let empties = 0; empties < EMPTIES_TO_BELIEVE; empties++) {
      await ctx.clock.advance(ttlMs + 1)
      await lookup(ctx)
    }
    t.equal(ttlLeft(await lookup(ctx)), emptyTtlMs)
    t.equal(ctx.cache.store.entries, 1)
  })
})

await t.test('entries stored together expire apart', async (t) => {
  const ctx = setup({ maxEntries: 2_000 }, { random: seeded() })
  ctx.source.answerAll()
  const ids = Array.from({ length: 1_000 }, (_, i) => `station-${i}`)
  const ttls: number[] = []
  for (const id of ids) {
    await startLookup(ctx, id).outcome
    ttls.push(ttlLeft(await startLookup(ctx, id).outcome) as number)
  }

  await t.test('the jitter takes at most a tenth of the TTL, and less than 2 % on average', async (t) => {
    t.ok(Math.max(...ttls) <= ttlMs)
    t.ok(Math.min(...ttls) >= 0.9 * ttlMs)
    t.ok(ttls.reduce((sum, ttl) => sum + ttl, 0) / ttls.length > 0.98 * ttlMs)
  })

  await t.test('expiries spread over the last hundredths of the TTL', async (t) => {
    const inPart = (part: number) => ttls.filter((ttl) => Math.floor((1 - ttl / ttlMs) * 100) === part).length
    const [last = 0, ...earlier] = [0, 1, 2, 3].map(inPart)
    t.ok(last > 25 && last < 600, `${last} of 1000 in the last hundredth`)
    t.ok(Math.min(...earlier) > 25, `${earlier.join(', ')} of 1000 in those before`)
  })

  await t.test('each entry becomes stale when its reported TTL is over', async (t) => {
    await ctx.clock.advance(0.98 * ttlMs)
    const results = []
    for (const id of ids) results.push(((await startLookup(ctx, id).outcome) as { result: string }).result)
    t.strictSame(
      results,
      ttls.map((ttl) => (ttl >= 0.98 * ttlMs ? 'hit' : 'stale')),
    )
    t.equal(ctx.source.calls.length, 1_000 + ttls.filter((ttl) => ttl < 0.98 * ttlMs).length)
  })

  await t.test('ttlFactor is 1 for the smallest random number and 0.9 for the largest', async (t) => {
    t.strictSame([ttlFactor(0), ttlFactor(1 - Number.EPSILON)], [1, 0.9])
  })
})

await t.test('with a TTL of 0 nothing is stored', async (t) => {
  const HOUR = 3_600_000
  const options = { ttlMs: 0, emptyTtlMs: HOUR, staleWhileRevalidateMs: HOUR, staleIfErrorMs: HOUR }

  for (const [kind, connectors] of [
    ['without connectors', []],
    ['with connectors', [connector('Type2', level(22))]],
  ] as const) {
    await t.test(`each later lookup of a station ${kind} makes a call`, async (t) => {
      const ctx = setup(options)
      ctx.source.always = (call) => call.answer(connectors)
      const outcomes = [await lookup(ctx), await lookup(ctx), await lookup(ctx)]
      t.match(
        outcomes,
        [1, 2, 3].map((call) => ({ result: 'miss', call, isStored: false, wasExpired: false })),
      )
      t.strictSame([ctx.cache.store.entries, ctx.cache.store.bytes], [0, 0])
    })
  }

  await t.test('a 404 is not cached', async (t) => {
    const ctx = setup(options)
    ctx.source.failAll('NotFound')
    await lookup(ctx)
    ctx.source.answerAll()
    t.match(await lookup(ctx), { result: 'miss', call: 2 })
  })

  await t.test('an error is not replaced by a stale answer', async (t) => {
    const ctx = setup(options)
    ctx.source.answerAll()
    await lookup(ctx)
    ctx.source.failAll()
    t.strictSame(await lookup(ctx), { error: 'UpstreamFailed' })
  })

  await t.test('lookups share an in-flight call all the same', async (t) => {
    const ctx = setup(options)
    const lookups = await waiters(ctx, 10)
    ctx.source.last.answer()
    const notStored = { ttlMs: 0, isStored: false }
    t.strictSame(await outcomesOf(lookups), [
      { ...miss(1), ...notStored },
      ...repeat(9, { ...coalesced(1), ...notStored }),
    ])
    t.equal(ctx.source.calls.length, 1)
  })

  await t.test('a failed call has its back-off all the same', async (t) => {
    const ctx = setup(options)
    ctx.source.failAll()
    await lookup(ctx)
    await lookup(ctx)
    t.equal(ctx.source.calls.length, 1)
  })
})

await t.test('pacing extends the TTL', async (t) => {
  const extendedMs = 90_000

  await t.test('the extended TTL is the one in force, and the stale windows follow it', async (t) => {
    const rows = [
      [extendedMs, { result: 'hit', ttlMs: 0 }],
      [extendedMs + 1, { result: 'stale', ttlMs: -1 }],
      [extendedMs + staleWhileRevalidateMs, { result: 'stale' }],
      [extendedMs + staleWhileRevalidateMs + 1, { result: 'stale_error' }],
      [extendedMs + staleIfErrorMs, { result: 'stale_error' }],
      [extendedMs + staleIfErrorMs + 1, { error: 'UpstreamFailed' }],
    ] as const
    const outcomes = []
    for (const [ageMs] of rows) {
      const ctx = await setupAged(ageMs, {}, { isPaced: true })
      ctx.extendTtlTo(extendedMs)
      ctx.source.failAll()
      outcomes.push(await lookup(ctx))
    }
    t.match(
      outcomes,
      rows.map(([, outcome]) => outcome),
    )
  })

  await t.test('the extended TTL applies to present entries, and only while it is in force', async (t) => {
    const ctx = await setupAged(REVALIDATING + 1, {}, { isPaced: true })
    ctx.extendTtlTo(extendedMs)
    t.match(await lookup(ctx), { result: 'hit' })
    ctx.extendTtlTo(null)
    const waiter = startLookup(ctx)
    await settled()
    t.equal(waiter.ended, null)
    t.equal(ctx.source.calls.length, 2)
  })

  await t.test('the TTL of a station without connectors is not extended', async (t) => {
    const ctx = await setupAgedEmpty(0)
    const outcomes = []
    for (const extended of [extendedMs, emptyTtlMs - 1]) {
      ctx.extendTtlTo(extended)
      outcomes.push(await lookup(ctx))
    }
    t.match(outcomes, repeat(2, { result: 'hit', ttlMs: emptyTtlMs }))
  })
})

/** A lookup of every kind, with a jump of the wall clock before each. */
async function everyOutcome(jumpMs: number) {
  const ctx = setup()
  const outcomes: Outcome[] = []
  const lookupAfter = async (ms: number) => {
    ctx.clock.setWall(ctx.clock.wall() + jumpMs)
    await ctx.clock.advance(ms)
    outcomes.push(await lookup(ctx))
  }
  ctx.source.answerAll()
  for (const ms of [0, FRESH, 1, staleWhileRevalidateMs, 1_000, FRESH + 5]) await lookupAfter(ms)
  ctx.source.failAll()
  for (const ms of [REVALIDATING, 500, 500, USABLE]) await lookupAfter(ms)
  return { outcomes, calls: ctx.source.calls.length }
}

await t.test('a wall clock that jumps by an hour has no effect', async (t) => {
  const HOUR = 3_600_000
  const still = await everyOutcome(0)
  t.equal(new Set(still.outcomes.map((one) => ('result' in one ? one.result : 'error'))).size, 5)
  t.strictSame(await everyOutcome(HOUR), still)
  t.strictSame(await everyOutcome(-HOUR), still)
})
