import t from 'tap'
import type { Availability } from '../../src/availability/model.ts'
import { settled } from '../support/clock.ts'
import { connector, level, station } from '../support/stations.ts'
import { FRESH, lookup, setup } from './setup.ts'

const START = Date.UTC(2026, 0, 15, 12) / 1_000
const FREE = station('a', connector('Type2', level(22, 1)))
const TAKEN = station('a', connector('Type2', level(22, 0, 1)))

/** A cache that loads these answers, each a minute after the one before. */
async function load(...answers: Availability[]) {
  const ctx = setup({ staleWhileRevalidateMs: 0 })
  const found: { changedAt: number; etag: string; json: string }[] = []
  for (const answer of answers) {
    ctx.source.always = (call) => call.answerWith(answer)
    const { changedAt, answer: served } = await ctx.cache.get('a')
    const { etag } = served.render({ types: null, minPowerKW: null, maxPowerKW: null }, 'json', false)
    found.push({ changedAt, etag, json: served.json })
    await ctx.clock.advance(60_000)
  }
  return { ...ctx, found }
}

await t.test('the time of the last change is that of the answer that differed first', async (t) => {
  const { found, stored } = await load(FREE, FREE, TAKEN, TAKEN, FREE, FREE)
  t.strictSame(
    found.map(({ changedAt }) => (changedAt === 0 ? 0 : changedAt - START)),
    [0, 0, 120, 120, 240, 240],
  )
  t.strictSame(
    stored.map(({ change, sinceMs }) => [change, sinceMs]),
    [
      ['first', 0],
      ['same', 60_000],
      ['different', 60_000],
      ['same', 60_000],
      ['different', 60_000],
      ['same', 60_000],
    ],
  )
})

await t.test('an answer with another order of members keeps the bytes and the entity tag', async (t) => {
  const { chargingAvailability, connectors } = FREE
  const [first] = connectors
  const { type, total, availability } = first as (typeof connectors)[number]
  const reordered = { chargingAvailability, connectors: [{ availability, total, type }] } as Availability
  const { found } = await load(FREE, reordered, FREE)
  t.strictSame(
    found.map(({ changedAt, etag, json }) => ({ changedAt, etag, json })),
    Array.from({ length: 3 }, () => found[0]),
  )
})

await t.test('another order of connectors is a change', async (t) => {
  const [one, two] = [connector('Type2', level(22)), connector('Chademo', level(50))]
  const { found } = await load(station('a', one, two), station('a', two, one))
  t.equal(found[1]?.changedAt, START + 60)
})

await t.test('a late answer changes nothing', async (t) => {
  const ctx = setup({ flightTimeoutMs: 1_000, staleWhileRevalidateMs: 0, softTimeoutMs: 10_000 })
  const first = ctx.cache.get('a') as Promise<unknown>
  first.catch(() => {})
  await settled()
  await ctx.clock.advance(3_000) // past the deadline of the call, and its back-off
  ctx.source.always = (call) => call.answerWith(TAKEN)
  await lookup(ctx)
  ctx.source.calls[0]?.answerWith(FREE)
  await settled()
  t.equal(ctx.cache.peek('a')?.answer.json.includes('"occupied":1'), true)
  t.equal((await ctx.cache.get('a')).changedAt, 0)
})

await t.test('without a TTL there is nothing to compare with', async (t) => {
  const ctx = setup({ ttlMs: 0 })
  ctx.source.answerAll()
  await lookup(ctx)
  await ctx.clock.advance(FRESH)
  t.equal((await ctx.cache.get('a')).changedAt, 0)
  t.strictSame(ctx.stored, [])
})

await t.test('the time of the last change does not go back with the wall clock', async (t) => {
  const { cache, source, clock } = setup({ staleWhileRevalidateMs: 0 })
  const changedAt = async (answer: Availability) => {
    source.always = (call) => call.answerWith(answer)
    await clock.advance(60_000)
    return (await cache.get('a')).changedAt
  }
  await changedAt(FREE)
  const first = await changedAt(TAKEN)
  clock.setWall(clock.wall() - 3_600_000)
  t.strictSame([await changedAt(FREE), await changedAt(FREE)], [first + 1, first + 1])
  t.equal(await changedAt(TAKEN), first + 2)
  clock.setWall(clock.wall() + 7_200_000)
  t.equal(await changedAt(FREE), Math.floor(clock.wall() / 1_000))
})
