import t from 'tap'
import { NO_FILTER } from '../support/arbitraries.ts'
import { settled } from '../support/clock.ts'
import { lookup, miss, outcomesOf, repeat, seeded, setup, startLookup } from './setup.ts'

await t.test('eviction does not reach in-flight calls: 2 entries, 100 stations, 100 answers', async (t) => {
  const ctx = setup({ maxEntries: 2 })
  const lookups = Array.from({ length: 100 }, (_, i) => startLookup(ctx, `station-${i}`))
  await settled()
  t.equal(ctx.cache.inFlightCalls, 100)
  for (const call of ctx.source.calls) call.answer()
  t.strictSame(
    await outcomesOf(lookups),
    lookups.map((_, i) => ({ ...miss(i + 1), isStored: i >= 98 })),
  )
  t.equal(ctx.cache.store.entries, 2)
  t.equal(ctx.evictions(), 98)
})

await t.test('10,000 random ids never exceed a bound, and evict no station in use', async (t) => {
  const maxEntries = 500
  const maxBytes = 400_000
  const ctx = setup({ maxEntries, maxBytes })
  const random = seeded()
  ctx.source.always = (call) => {
    if (call.id.startsWith('unknown')) call.answerEmpty()
    else call.answer()
  }
  const hot = Array.from({ length: 50 }, (_, i) => `hot-${i}`)
  for (const id of hot) await startLookup(ctx, id).outcome

  let most = { entries: 0, bytes: 0 }
  for (let i = 0; i < 10_000; i++) {
    const kind = random() < 0.75 ? 'unknown' : 'known'
    const id = i % 10 === 0 ? (hot[(i / 10) % 50] as string) : `${kind}-${Math.floor(random() * 1e9)}`
    const { answer } = await ctx.cache.get(id)
    answer.render(NO_FILTER, random() < 0.5 ? 'json' : 'xml', random() < 0.05)
    const { entries, bytes } = ctx.cache.store
    most = { entries: Math.max(most.entries, entries), bytes: Math.max(most.bytes, bytes) }
  }
  t.ok(most.entries <= maxEntries, `${most.entries} entries`)
  t.ok(most.bytes <= maxBytes && most.bytes > 0.8 * maxBytes, `${most.bytes} bytes, so the bound was reached`)
  t.equal(ctx.cache.inFlightCalls, 0)
  t.strictSame(
    hot.map((id) => ctx.source.callsFor(id)),
    repeat(50, 1),
  )
})

await t.test('1,000 unknown ids evict no station, though no lookup uses one meanwhile', async (t) => {
  const ctx = setup({ maxEntries: 100 })
  ctx.source.answerAll()
  for (let i = 0; i < 90; i++) await startLookup(ctx, `station-${i}`).outcome
  ctx.source.answerAllEmpty()
  for (let i = 0; i < 1_000; i++) await startLookup(ctx, `unknown-${i}`).outcome
  const outcomes = []
  for (let i = 0; i < 90; i++) outcomes.push(await lookup(ctx, `station-${i}`))
  t.match(
    outcomes,
    outcomes.map((_, i) => ({ result: 'hit', call: i + 1 })),
  )
  t.ok(ctx.cache.store.entries <= 100)
})
