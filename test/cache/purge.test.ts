import t from 'tap'
import { settled } from '../support/clock.ts'
import { FRESH, lookup, setup, setupAged, startLookup, TIMES } from './setup.ts'

const callOf = (outcome: object | null) => (outcome && 'call' in outcome ? outcome.call : undefined)

await t.test('a purge drops the entry of one station or of all', async (t) => {
  const ctx = setup()
  ctx.source.answerAll()
  for (const id of ['a', 'b', 'c']) await lookup(ctx, id)
  await ctx.cache.purge.one('a')
  await ctx.cache.purge.one('never cached')
  t.strictSame([ctx.cache.peek('a'), ctx.cache.store.entries], [null, 2])
  t.match(await lookup(ctx, 'a'), { result: 'miss', call: 4, wasExpired: false })
  await ctx.cache.purge.all()
  t.strictSame([ctx.cache.store.entries, ctx.cache.store.bytes], [0, 0])
})

await t.test('a purge drops negative entries, back-offs and stations without connectors', async (t) => {
  const ctx = setup()
  ctx.source.failAll('NotFound')
  await lookup(ctx, 'unknown')
  ctx.source.failAll()
  await lookup(ctx, 'failing')
  ctx.source.answerAllEmpty()
  await lookup(ctx, 'empty')
  await ctx.cache.purge.one('unknown')
  await ctx.cache.purge.all()
  ctx.source.answerAll()
  t.match(
    [await lookup(ctx, 'unknown'), await lookup(ctx, 'failing'), await lookup(ctx, 'empty')],
    [{ result: 'miss' }, { result: 'miss' }, { result: 'miss' }],
  )
})

for (const [name, purge] of [
  ['one', (cache) => cache.purge.one('a')],
  ['all', (cache) => cache.purge.all()],
] as [string, (cache: ReturnType<typeof setup>['cache']) => Promise<void>][]) {
  await t.test(`a call in flight cannot bring a purged answer back (${name})`, async (t) => {
    const ctx = setup()
    const before = startLookup(ctx)
    await settled()
    await purge(ctx.cache)
    const after = startLookup(ctx)
    await settled()
    t.equal(ctx.source.calls.length, 2, 'a lookup after the purge starts a call of its own')
    await ctx.source.calls[0]?.answerAndSettle()
    t.equal(callOf(before.ended), 1, 'the waiters of the first call get its answer')
    t.equal(ctx.cache.peek('a'), null)
    await ctx.source.calls[1]?.answerAndSettle()
    t.equal(callOf(after.ended), 2)
    t.match(await lookup(ctx), { result: 'hit', call: 2 })
  })
}

await t.test('a call in flight for another station is not affected', async (t) => {
  const ctx = setup()
  const other = startLookup(ctx, 'b')
  await settled()
  await ctx.cache.purge.one('a')
  await ctx.source.last.answerAndSettle()
  t.equal(callOf(other.ended), 1)
  t.match(await lookup(ctx, 'b'), { result: 'hit' })
})

await t.test('a refresh in flight cannot bring a purged answer back', async (t) => {
  const ctx = await setupAged(FRESH + 1)
  t.match(await lookup(ctx), { result: 'stale' })
  await ctx.cache.purge.one('a')
  await ctx.source.last.answerAndSettle()
  t.equal(ctx.cache.peek('a'), null)
})

await t.test('an error of a purged call is not kept', async (t) => {
  const ctx = setup()
  const before = startLookup(ctx)
  await settled()
  await ctx.cache.purge.one('a')
  await ctx.source.last.failAndSettle('NotFound')
  t.match(before.ended, { error: 'NotFound' })
  ctx.source.answerAll()
  t.match(await lookup(ctx), { result: 'miss' })
})

await t.test('a call past its deadline cannot bring a purged answer back', async (t) => {
  const ctx = setup()
  const before = startLookup(ctx)
  await settled()
  await ctx.clock.advance(TIMES.flightTimeoutMs)
  t.match(before.ended, { error: 'UpstreamTimeout' })
  await ctx.cache.purge.one('a')
  await ctx.source.last.answerAndSettle()
  t.equal(ctx.cache.peek('a'), null)
})
