/* What the Cache reports. Its behaviour: coalescing, freshness, stale-answers, negative-cache, memory-bounds, shared-loader. */
import t from 'tap'
import { settled } from '../support/clock.ts'
import { callIn, FRESH, lookup, REVALIDATING, setup, setupAged, startLookup, TIMES, USABLE } from './setup.ts'

const { ttlMs, softTimeoutMs } = TIMES

await t.test('each lookup is one event, with the age of the answer served', async (t) => {
  await t.test('every result is reported once per lookup', async (t) => {
    const ctx = setup()
    const lookups = [startLookup(ctx), startLookup(ctx), startLookup(ctx)]
    lookups[2]?.disconnect()
    await settled()
    await ctx.source.last.answerAndSettle()
    await ctx.clock.advance(FRESH)
    await lookup(ctx)
    await ctx.clock.advance(1)
    await lookup(ctx)
    await ctx.source.last.failAndSettle()
    await lookup(ctx)
    await ctx.clock.advance(USABLE)
    ctx.source.failAll()
    await lookup(ctx)
    await lookup(ctx)
    t.strictSame(ctx.events, [
      { result: 'coalesced', ageSeconds: null },
      { result: 'miss', ageSeconds: 0 },
      { result: 'coalesced', ageSeconds: 0 },
      { result: 'hit', ageSeconds: 30 },
      { result: 'stale', ageSeconds: 30.001 },
      { result: 'stale_error', ageSeconds: 30.001 },
      { result: 'error', ageSeconds: null },
      { result: 'error', ageSeconds: null },
    ])
    t.equal(ctx.cache.lookups, ctx.events.length)
  })

  await t.test('a stale answer at the soft timeout is reported once, however the call ends', async (t) => {
    const ctx = await setupAged(REVALIDATING + 1)
    startLookup(ctx)
    await ctx.clock.advance(softTimeoutMs)
    await ctx.source.last.failAndSettle()
    t.strictSame(ctx.events, [{ result: 'stale', ageSeconds: (REVALIDATING + 1 + softTimeoutMs) / 1_000 }])
  })
})

await t.test('peek has no side effects', async (t) => {
  await t.test('peek returns the entry, its age and the rest of the TTL at any age', async (t) => {
    const ages = [0, FRESH, REVALIDATING, 10 * USABLE]
    const seen = []
    for (const ageMs of ages) {
      const { cache } = await setupAged(ageMs)
      const entry = cache.peek('a')
      seen.push([entry?.ageMs, entry?.ttlMs, callIn(entry?.answer.json ?? '')])
    }
    t.strictSame(
      seen,
      ages.map((ageMs) => [ageMs, ttlMs - ageMs, 1]),
    )
  })

  await t.test('peek returns null for a station without an entry', async (t) => {
    const { cache } = await setupAged(0)
    t.equal(cache.peek('b'), null)
  })

  await t.test('peek makes no call, counts no lookup and does not keep an entry from eviction', async (t) => {
    const ctx = setup({ maxEntries: 2 })
    ctx.source.answerAll()
    await lookup(ctx, 'a')
    await ctx.clock.advance(REVALIDATING + 1)
    await lookup(ctx, 'b')
    const state = () => [ctx.source.calls.length, ctx.cache.lookups, ctx.events.length]
    const before = state()
    ctx.cache.peek('a')
    t.strictSame(state(), before)
    await lookup(ctx, 'c')
    t.equal(ctx.cache.peek('a'), null, 'the least recently used is evicted')
  })
})
