/*
 * An empty answer after a full one. Lookups come once per TTL unless a test says otherwise, so each of them asks upstream.
 */
import t from 'tap'
import { EMPTIES_TO_BELIEVE } from '../../src/cache/empty-doubt.ts'
import { TestClock } from '../support/clock.ts'
import { ScriptedSource } from '../support/scripted-source.ts'
import { SharedDouble } from '../support/shared-double.ts'
import type { Context, Outcome } from './setup.ts'
import { callIn, callTimes, FRESH, lookup, setup, TIMES } from './setup.ts'

const { ttlMs, emptyTtlMs, staleIfErrorMs } = TIMES
const NO_REVALIDATION = { staleWhileRevalidateMs: 0 }

/** Upstream answers with a full answer for `F` and an empty one for `e`, call by call; the last one repeats. */
function script(source: ScriptedSource, answers: string): void {
  source.always = (call) => {
    const kind = answers[Math.min(call.number, answers.length) - 1]
    if (kind === 'F') call.answer()
    else call.answerEmpty()
  }
}

function setupScripted(answers: string, options = {}): Context {
  const ctx = setup({ ...NO_REVALIDATION, ...options }, { isPaced: true })
  script(ctx.source, answers)
  return ctx
}

/** What a lookup got: the call that its answer is from, and whether the answer is marked. */
async function seen(ctx: Pick<Context, 'cache'>): Promise<string> {
  const found = await ctx.cache.get('a')
  const mark = found.isEmptyUnconfirmed === true ? ' unconfirmed' : ''
  return `${found.result} ${callIn(found.answer.json)}${found.answer.isEmpty ? ' empty' : ''}${mark}`
}

async function seenEachTtl(ctx: Context, lookups: number): Promise<string[]> {
  const all: string[] = []
  while (all.length < lookups) {
    all.push(await seen(ctx))
    await ctx.clock.advance(ttlMs + 1)
  }
  return all
}

await t.test('an empty answer after a full one is doubted', async (t) => {
  await t.test('the third empty answer in a row is believed and is not counted as doubted', async (t) => {
    const ctx = setupScripted('Feee')
    t.strictSame(await seenEachTtl(ctx, 4), [
      'miss 1',
      'stale 1 unconfirmed',
      'stale 1 unconfirmed',
      'miss 4 empty',
    ])
    t.equal(ctx.doubted(), EMPTIES_TO_BELIEVE - 1)
  })

  await t.test('a full answer in between starts the count again', async (t) => {
    const ctx = setupScripted('FeeFeeFeee')
    t.strictSame(
      (await seenEachTtl(ctx, 10)).map((one) => one.endsWith('empty')),
      [...Array.from({ length: 9 }, () => false), true],
    )
    t.equal(ctx.doubted(), 6)
  })

  await t.test(
    'a failure in between is no answer: it neither counts nor starts the count again',
    async (t) => {
      const ctx = setup(NO_REVALIDATION)
      ctx.source.always = (call) => {
        if (call.number === 1) call.answer()
        else if (call.number === 3) call.fail()
        else call.answerEmpty()
      }
      t.strictSame(await seenEachTtl(ctx, 5), [
        'miss 1',
        'stale 1 unconfirmed',
        'stale_error 1 unconfirmed',
        'stale 1 unconfirmed',
        'miss 5 empty',
      ])
    },
  )

  await t.test('the station is asked again after the TTL, and not before', async (t) => {
    const ctx = setupScripted('Fe')
    await lookup(ctx)
    await ctx.clock.advance(ttlMs + 1)
    t.strictSame(await callTimes(ctx, ttlMs + 100), [0, ttlMs])
  })

  await t.test('a paced TTL does not delay the next call', async (t) => {
    const ctx = setupScripted('Fe')
    await lookup(ctx)
    await ctx.clock.advance(ttlMs + 1)
    await lookup(ctx)
    ctx.extendTtlTo(10 * ttlMs)
    t.equal(await seen(ctx), 'stale 1 unconfirmed')
    await ctx.clock.advance(ttlMs)
    t.equal(await seen(ctx), 'stale 1 unconfirmed')
    await ctx.clock.advance(0)
    t.equal(ctx.source.calls.length, 3)
  })

  await t.test('a refresh in the background is doubted like a call with a waiter', async (t) => {
    const ctx = setup()
    script(ctx.source, 'Fe')
    await lookup(ctx)
    await ctx.clock.advance(ttlMs + 1)
    t.equal(await seen(ctx), 'stale 1')
    await ctx.clock.advance(1)
    t.equal(await seen(ctx), 'stale 1 unconfirmed')
    t.equal(ctx.source.calls.length, 2)
  })

  await t.test('every waiter of the call gets the full answer', async (t) => {
    const ctx = setup(NO_REVALIDATION)
    ctx.source.answerAll()
    await lookup(ctx)
    await ctx.clock.advance(ttlMs + 1)
    ctx.source.holdAll()
    const waiting = Promise.all([seen(ctx), seen(ctx)])
    await ctx.clock.advance(0)
    ctx.source.last.answerEmpty()
    t.strictSame(await waiting, ['stale 1 unconfirmed', 'stale 1 unconfirmed'])
    t.equal(ctx.doubted(), 1)
  })
})

await t.test('an empty answer is believed at once', async (t) => {
  await t.test('when no full answer is cached', async (t) => {
    const ctx = setupScripted('e')
    t.equal(await seen(ctx), 'miss 1 empty')
    t.equal(ctx.doubted(), 0)
  })

  await t.test('when the full answer is past the TTL and CACHE_STALE_IF_ERROR', async (t) => {
    const results = []
    for (const ageMs of [FRESH + staleIfErrorMs, FRESH + staleIfErrorMs + 1]) {
      const ctx = setupScripted('Fe')
      await lookup(ctx)
      await ctx.clock.advance(ageMs)
      results.push(await seen(ctx))
    }
    t.strictSame(results, ['stale 1 unconfirmed', 'miss 2 empty'])
  })

  await t.test('when nothing may be stored', async (t) => {
    const ctx = setupScripted('Fe', { ttlMs: 0 })
    t.strictSame([await seen(ctx), await seen(ctx)], ['miss 1', 'miss 2 empty'])
  })

  await t.test('and CACHE_EMPTY_TTL applies only then', async (t) => {
    const ctx = setupScripted('Feee')
    await seenEachTtl(ctx, 3)
    const found = (await lookup(ctx)) as Extract<Outcome, { ttlMs: number }>
    t.strictSame([found.call, found.ttlMs], [4, emptyTtlMs])
    await ctx.clock.advance(emptyTtlMs)
    t.equal(await seen(ctx), 'hit 4 empty')
  })
})

await t.test('a station that alternates between empty and full for 60 requests never vanishes', async (t) => {
  const ctx = setupScripted('Fe'.repeat(40))
  const all = await seenEachTtl(ctx, 60)
  t.strictSame(
    all.filter((one) => one.includes('empty')),
    [],
  )
  t.equal(ctx.source.calls.length, 60)
})

/** Replicas with one store and one upstream. */
function setupReplicas(answers: string, count: number) {
  const clock = new TestClock()
  const source = new ScriptedSource(clock.now)
  script(source, answers)
  const store = new SharedDouble(clock)
  const create = () =>
    setup(NO_REVALIDATION, {
      clock,
      source,
      shared: { store, observer: { sharedCacheLookedUp: () => {} } },
    })
  return { clock, source, store, create, replicas: Array.from({ length: count }, create) }
}

/** The same lookup at each replica, once per TTL. */
async function seenByReplicas({ clock, replicas }: ReturnType<typeof setupReplicas>, rounds: number) {
  const all: string[][] = []
  while (all.length < rounds) {
    const round: string[] = []
    for (const one of replicas) {
      round.push((await seen(one)).replace(/^\w+ /, ''))
      await clock.advance(50)
    }
    all.push(round)
    await clock.advance(ttlMs + 1)
  }
  return all
}

await t.test('replicas share the doubt', async (t) => {
  await t.test('they make one call per TTL and believe the third empty answer together', async (t) => {
    const fleet = setupReplicas('Feee', 3)
    t.strictSame(await seenByReplicas(fleet, 4), [
      ['1', '1', '1'],
      ['1 unconfirmed', '1 unconfirmed', '1 unconfirmed'],
      ['1 unconfirmed', '1 unconfirmed', '1 unconfirmed'],
      ['4 empty', '4 empty', '4 empty'],
    ])
    t.equal(fleet.source.calls.length, 4)
    t.equal(
      fleet.replicas.reduce((sum, { doubted }) => sum + doubted(), 0),
      2,
    )
  })

  await t.test('a replica that starts meanwhile gets the full answer with its doubt', async (t) => {
    const fleet = setupReplicas('Fe', 1)
    await seenByReplicas(fleet, 1)
    await seen(fleet.replicas[0] as Context)
    const late = fleet.create()
    t.equal(await seen(late), 'stale 1 unconfirmed')
    t.equal(fleet.source.calls.length, 2)
  })

  await t.test(
    'a believed empty answer is not undone by a replica that still has the full one',
    async (t) => {
      const fleet = setupReplicas('Feee', 2)
      const [a, b] = fleet.replicas as [Context, Context]
      t.strictSame([await seen(a), await seen(b)], ['miss 1', 'hit 1'])
      await fleet.clock.advance(ttlMs + 1)
      await seenEachTtl(a, 3)
      t.equal(await seen(b), 'hit 4 empty')
      t.equal(await seen(fleet.create()), 'hit 4 empty')
    },
  )

  await t.test(
    'an empty answer of a replica that knew of no full one is doubted by those that do',
    async (t) => {
      const fleet = setupReplicas('Fe', 1)
      const [a] = fleet.replicas as [Context]
      await seen(a)
      await fleet.clock.advance(ttlMs + 1)
      fleet.store.plant('a', {
        version: 'without-count',
        changedAt: 0,
        json: '{"connectors":[],"chargingAvailability":"a","call":9}',
        ageMs: 0,
        startedAgoMs: 0,
        jitter: 1,
      })
      t.equal(await seen(a), 'stale 1 unconfirmed')
      t.equal(fleet.source.calls.length, 1)
      await fleet.clock.advance(ttlMs)
      await seen(a)
      t.equal(fleet.source.calls.length, 2, 'the same answer is not counted twice')
    },
  )

  await t.test('an alternating upstream never makes the station vanish at any of them', async (t) => {
    const fleet = setupReplicas('Fe'.repeat(40), 3)
    const all = await seenByReplicas(fleet, 20)
    t.strictSame(
      all.flat().filter((one) => one.includes('empty')),
      [],
    )
    t.equal(fleet.source.calls.length, 20)
  })

  await t.test('the call of a doubted answer ends its lease', async (t) => {
    const fleet = setupReplicas('FeF', 1)
    const [a] = fleet.replicas as [Context]
    await seenEachTtl(a, 2)
    t.equal(await seen(a), 'miss 3')
    t.equal((await fleet.store.leaseGet('a', 'none', { token: 't', ms: 1 })).kind, 'answer')
  })
})
