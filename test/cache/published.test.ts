/* A replica that is notified of an answer which another one has stored. */
import t from 'tap'
import { Answer } from '../../src/cache/answer.ts'
import { settled, TestClock } from '../support/clock.ts'
import { SharedDouble } from '../support/shared-double.ts'
import { connector, level, station } from '../support/stations.ts'
import { hit, lookup, setup } from './setup.ts'

const HOUR = 3_600_000

const fresh = (call: number, ageMs: number) => ({ ...hit(call, ageMs), ttlMs: HOUR - ageMs })

/** A replica with an answer of call 1 that is fresh for an hour; a peer has stored one of call 0 half an hour later. */
async function setupPeer({ isPaced }: { isPaced: boolean }) {
  const clock = new TestClock()
  const store = new SharedDouble(clock)
  const observer = { sharedCacheLookedUp: () => {} }
  const ctx = setup({ ttlMs: HOUR }, { clock, isPaced, shared: { store, observer } })
  ctx.source.answerAll()
  await lookup(ctx)
  await clock.advance(HOUR / 2)
  const { json } = new Answer({ ...station('a', connector('Type2', level(22))), call: 0 })
  store.plant('a', { version: 'of a peer', json, ageMs: 0, startedAgoMs: 100, jitter: 1, changedAt: 0 })
  return { ...ctx, store }
}

const published = async (ctx: Awaited<ReturnType<typeof setupPeer>>, id: string, isWatched: boolean) => {
  ctx.cache.published(id, 'of a peer', isWatched)
  await settled()
}

await t.test('an answer that a peer has stored', async (t) => {
  await t.test('replaces the present one under a quota, fresh as that is, without a call', async (t) => {
    const ctx = await setupPeer({ isPaced: true })
    await published(ctx, 'a', false)
    t.strictSame(await lookup(ctx), fresh(0, 0))
    t.equal(ctx.source.calls.length, 1)
  })

  await t.test('is not asked for without a quota', async (t) => {
    const ctx = await setupPeer({ isPaced: false })
    await published(ctx, 'a', false)
    t.strictSame(await lookup(ctx), fresh(1, HOUR / 2))
  })

  await t.test('is taken over without a quota if the station is watched', async (t) => {
    const ctx = await setupPeer({ isPaced: false })
    await published(ctx, 'a', true)
    t.strictSame(await lookup(ctx), fresh(0, 0))
  })

  await t.test('is not asked for if the station is not cached here', async (t) => {
    const ctx = await setupPeer({ isPaced: true })
    ctx.cache.store.clear()
    await published(ctx, 'a', false)
    t.equal(ctx.cache.store.entries, 0)
  })

  await t.test('leaves the present one while the store cannot be reached', async (t) => {
    const ctx = await setupPeer({ isPaced: true })
    ctx.store.isUp = false
    await published(ctx, 'a', false)
    t.strictSame(await lookup(ctx), fresh(1, HOUR / 2))
  })
})
