/*
 * One replica on a test clock, with the store of test/support/shared-double.ts. What replicas do for each other is the
 * contract suite of all stores: test/redis/shared-cache.test.ts.
 */
import type { Test } from 'tap'
import t from 'tap'
import { MAX_SHORT_TEXT } from '../../src/availability/decode.ts'
import { Answer } from '../../src/cache/answer.ts'
import type { CacheOptions } from '../../src/cache/cache.ts'
import { MAX_WAITING_ANSWERS } from '../../src/cache/shared-entry.ts'
import { LEASE_MS } from '../../src/cache/shared-loader.ts'
import type { SharedAnswer, SharedAnswerStore } from '../../src/cache/shared-store.ts'
import type { SharedResult } from '../../src/events.ts'
import { Turns } from '../../src/lib/turns.ts'
import { settled, TestClock } from '../support/clock.ts'
import { SharedDouble } from '../support/shared-double.ts'
import { connector, level, station } from '../support/stations.ts'
import { FRESH, hit, lookup, miss, REVALIDATING, setup, stale, startLookup, TIMES, USABLE } from './setup.ts'
import { countTurns } from '../support/turn-count.ts'

/** A replica, its store, what it reported and the commands that it sent. */
function setupReplica(
  options: Partial<CacheOptions> = {},
  random = () => 0,
  isAffordable: (options: unknown, id: string) => boolean = () => true,
  turns?: Turns,
) {
  const clock = new TestClock()
  const store = new SharedDouble(clock)
  const sharedEvents: SharedResult[] = []
  const commands: { readonly name: keyof SharedAnswerStore; readonly at: number }[] = []
  const recorded = new Proxy(store, {
    get: (target, name: Exclude<keyof SharedAnswerStore, 'onPublished'>) => {
      if (name === 'isUp') return target.isUp
      if (name === 'onPurged') return target.onPurged.bind(target) // no command
      return (...args: never[]) => {
        if (!name.startsWith('on')) commands.push({ name, at: clock.now() }) // a listener is no command
        return (Reflect.get(target, name) as Function).apply(target, args)
      }
    },
  })
  const observer = { sharedCacheLookedUp: (result: SharedResult) => void sharedEvents.push(result) }
  const ctx = setup(options, {
    clock,
    random,
    shared: { store: recorded, observer, isAffordable, ...(turns && { turns }) },
  })
  const timesOf = (name: keyof SharedAnswerStore) =>
    commands.filter((one) => one.name === name).map(({ at }) => at)
  return { ...ctx, store, sharedEvents, commands, timesOf }
}

/** A peer's answer; the number of its call is 0. */
function peerAnswer(ageMs: number, more: Partial<SharedAnswer> = {}): SharedAnswer {
  const { json } = new Answer({ ...station('a', connector('Type2', level(22))), call: 0 })
  return { version: 'of a peer', json, ageMs, startedAgoMs: ageMs + 100, jitter: 1, changedAt: 0, ...more }
}

await t.test('an answer in the store is served', async (t) => {
  await t.test('a fresh answer of a peer is a hit with its age, and no call is made', async (t) => {
    const ctx = setupReplica()
    ctx.store.plant('a', peerAnswer(1_000))
    t.strictSame(await lookup(ctx), hit(0, 1_000))
    t.strictSame(await lookup(ctx), hit(0, 1_000))
    t.equal(ctx.source.calls.length, 0)
    t.strictSame(ctx.sharedEvents, ['hit'], 'the second lookup is a local hit')
  })

  await t.test('waiters of one lookup in the store are coalesced', async (t) => {
    const ctx = setupReplica()
    ctx.store.plant('a', peerAnswer(0))
    const lookups = [startLookup(ctx), startLookup(ctx)]
    await settled()
    t.match(
      lookups.map(({ ended }) => ended),
      [{ result: 'hit' }, { result: 'coalesced' }],
    )
    t.equal(ctx.timesOf('leaseGet').length, 1)
  })

  await t.test('a stale answer of a peer is served while this replica refreshes it', async (t) => {
    const ctx = setupReplica()
    ctx.store.plant('a', peerAnswer(FRESH + 1))
    t.strictSame(await lookup(ctx), stale(0, FRESH + 1))
    t.equal(ctx.source.calls.length, 1)
    t.strictSame(ctx.source.last.options, { lowPriority: true, hasStale: true, isKnown: true })
    await ctx.source.last.answerAndSettle()
    t.strictSame(await lookup(ctx), hit(1, 0))
  })

  await t.test('an expired answer of a peer is replaced by a call', async (t) => {
    const ctx = setupReplica()
    ctx.store.plant('a', peerAnswer(USABLE + 1))
    ctx.source.answerAll()
    t.strictSame(await lookup(ctx), miss(1, true))
  })

  await t.test(
    'a value that is not an answer for this station is replaced and reported as an error',
    async (t) => {
      const other = new Answer(station('b')).json
      const seen = []
      for (const planted of ['corrupt' as const, peerAnswer(0, { json: other })]) {
        const ctx = setupReplica()
        ctx.store.plant('a', planted)
        ctx.source.answerAll()
        seen.push([await lookup(ctx), ctx.sharedEvents])
      }
      t.strictSame(seen, [
        [miss(1), ['error']],
        [miss(1), ['error']],
      ])
    },
  )

  await t.test(
    'the onWait of a waiter is called once, though a stale answer of a peer restarts it',
    async (t) => {
      const ctx = setupReplica()
      ctx.store.plant('a', peerAnswer(REVALIDATING + 1))
      ctx.source.answerAll()
      let waits = 0
      const { result } = await ctx.cache.get('a', () => {
        waits++
        return new AbortController().signal
      })
      t.equal(result, 'miss')
      t.equal(waits, 1)
    },
  )
})

await t.test('a call that the quota will reject', async (t) => {
  const setupPoor = () => setupReplica({}, undefined, () => false)

  await t.test('it acquires no lease, so that nothing is written for it', async (t) => {
    const ctx = setupPoor()
    ctx.source.failAll('QuotaExhausted')
    t.strictSame(await lookup(ctx), { error: 'QuotaExhausted' })
    await ctx.clock.advance(LEASE_MS)
    t.strictSame(
      ctx.commands.map(({ name }) => name),
      ['leaseGet'],
    )
    t.equal((await ctx.store.leaseGet('a', '', { token: null, ms: LEASE_MS })).kind, 'none')
    t.strictSame(ctx.sharedEvents, ['miss'])
  })

  await t.test('it is judged by its station too', async (t) => {
    const ctx = setupReplica({}, undefined, (_options, id) => id === 'a')
    ctx.source.answerAll()
    await lookup(ctx)
    t.equal(ctx.timesOf('publish').length, 1, 'it had a lease, so that its answer is shared')
  })

  await t.test('it gets the answer of a peer', async (t) => {
    const ctx = setupPoor()
    ctx.store.plant('a', peerAnswer(1_000))
    t.strictSame(await lookup(ctx), hit(0, 1_000))
    t.equal(ctx.source.calls.length, 0)
  })

  await t.test('it waits for the call of a peer', async (t) => {
    const ctx = setupPoor()
    ctx.store.takeLease('a', LEASE_MS)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(100)
    ctx.store.plant('a', peerAnswer(0))
    await ctx.clock.advance(100)
    t.match(await waiter.outcome, { result: 'hit', call: 0 })
    t.equal(ctx.source.calls.length, 0)
  })
})

await t.test('a replica with the lease makes the call', async (t) => {
  await t.test('the answer is published with its age, version and life', async (t) => {
    const ctx = setupReplica()
    const waiter = startLookup(ctx)
    await settled()
    await ctx.clock.advance(300)
    ctx.source.last.answer()
    t.strictSame(await waiter.outcome, miss(1))
    t.equal(ctx.store.lifeMs('a'), TIMES.ttlMs + TIMES.staleIfErrorMs)
    const published = await ctx.store.leaseGet('a', '', { token: 'x', ms: LEASE_MS })
    t.match(published, { kind: 'answer', answer: { ageMs: 0, startedAgoMs: 300, jitter: 1 } })
    t.strictSame(ctx.sharedEvents, ['miss'])
  })

  await t.test('the lease is renewed every 0.5 s until the call ends', async (t) => {
    const ctx = setupReplica()
    startLookup(ctx)
    const start = ctx.clock.now()
    await ctx.clock.advance(1_600)
    ctx.source.last.answer()
    await ctx.clock.advance(5_000)
    t.strictSame(
      ctx.timesOf('renew').map((at) => at - start),
      [500, 1_000, 1_500],
    )
    t.equal(ctx.clock.pending, 0)
  })

  for (const [code, kind] of [
    ['UpstreamFailed', 'error'],
    ['NotFound', 'error'],
    ['QuotaExhausted', 'lease'],
  ] as const) {
    await t.test(`after ${code} the next replica gets ${kind} from the store`, async (t) => {
      const ctx = setupReplica()
      ctx.source.failAll(code)
      t.strictSame(await lookup(ctx), { error: code })
      const reply = await ctx.store.leaseGet('a', '', { token: 'x', ms: LEASE_MS })
      t.equal(reply.kind, kind)
    })
  }

  await t.test('a call past its deadline still publishes its answer', async (t) => {
    const ctx = setupReplica()
    startLookup(ctx)
    await ctx.clock.advance(TIMES.flightTimeoutMs)
    await ctx.source.last.answerAndSettle()
    t.strictSame(ctx.store.stations, ['a'])
  })
})

await t.test('a replica without the lease waits for the peer that has it', async (t) => {
  for (const [random, first, last] of [
    [0, 10, 20],
    [0.5, 20, 40],
  ] as const) {
    await t.test(
      `a waiter asks again after 10 to 30 ms (${first} ms for the random number ${random})`,
      async (t) => {
        const ctx = setupReplica({}, () => random)
        ctx.store.takeLease('a', 60_000)
        startLookup(ctx)
        const start = ctx.clock.now()
        await ctx.clock.advance(last)
        t.strictSame(
          ctx.timesOf('leaseGet').map((at) => at - start),
          [0, first, last],
        )
      },
    )
  }

  await t.test('a refresh asks again after 100 to 300 ms', async (t) => {
    const ctx = setupReplica()
    ctx.store.plant('a', peerAnswer(FRESH + 1))
    ctx.store.takeLease('a', 60_000)
    t.strictSame(await lookup(ctx), stale(0, FRESH + 1))
    const start = ctx.clock.now()
    await ctx.clock.advance(200)
    t.strictSame(
      ctx.timesOf('leaseGet').map((at) => at - start),
      [0, 0, 100, 200],
    )
  })

  await t.test('the answer of the peer is a hit as soon as it is published', async (t) => {
    const ctx = setupReplica()
    ctx.store.takeLease('a', 60_000)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(45)
    ctx.store.plant('a', peerAnswer(0))
    await ctx.clock.advance(5)
    t.strictSame(waiter.ended, hit(0, 5))
    t.equal(ctx.source.calls.length, 0)
  })

  await t.test('a lease that ends is taken over', async (t) => {
    const ctx = setupReplica()
    ctx.store.takeLease('a', 100)
    startLookup(ctx)
    await ctx.clock.advance(99)
    t.equal(ctx.source.calls.length, 0)
    await ctx.clock.advance(1)
    t.equal(ctx.source.calls.length, 1)
  })

  await t.test('the error of the peer is in force for what is left of it', async (t) => {
    const ctx = setupReplica()
    ctx.store.takeLease('a', 60_000)
    ctx.store.release('a', 'gone', { code: 'UpstreamFailed', ms: 500 })
    t.strictSame(await lookup(ctx), { error: 'UpstreamFailed' })
    ctx.source.answerAll()
    await ctx.clock.advance(499)
    t.strictSame(await lookup(ctx), { error: 'UpstreamFailed' })
    await ctx.clock.advance(1)
    t.strictSame(await lookup(ctx), miss(1))
    t.equal(ctx.timesOf('leaseGet').length, 2, 'the second lookup does not ask the store')
  })

  await t.test('a waiter gets a timeout at the deadline, and the store is asked no more', async (t) => {
    const ctx = setupReplica({ flightTimeoutMs: 200 })
    ctx.store.takeLease('a', 60_000)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(200)
    t.strictSame(waiter.ended, { error: 'UpstreamTimeout' })
    await ctx.clock.advance(100)
    const asked = ctx.timesOf('leaseGet').length
    await ctx.clock.advance(10_000)
    t.equal(ctx.timesOf('leaseGet').length, asked)
    t.equal(ctx.clock.pending, 0)
  })

  await t.test('a refresh does not accept a newer answer that is stale too', async (t) => {
    const ctx = setupReplica()
    ctx.source.answerAll()
    await lookup(ctx)
    await ctx.clock.advance(FRESH + 20_000)
    ctx.store.plant('a', peerAnswer(FRESH + 1_000))
    t.strictSame(await lookup(ctx), stale(1, FRESH + 20_000))
    t.equal(ctx.source.calls.length, 2)
  })
})

await t.test('without the store a replica makes its own calls', async (t) => {
  await t.test('a store that is down is not asked', async (t) => {
    const ctx = setupReplica()
    ctx.store.isUp = false
    ctx.source.answerAll()
    t.strictSame(await lookup(ctx), miss(1))
    t.strictSame(ctx.timesOf('leaseGet'), [])
    t.strictSame(ctx.sharedEvents, [])
  })

  await t.test('a store that fails is an error event, and the call is made', async (t) => {
    const ctx = setupReplica()
    ctx.store.leaseGet = async () => ({ kind: 'unavailable' })
    ctx.source.answerAll()
    t.strictSame(await lookup(ctx), miss(1))
    t.strictSame(ctx.sharedEvents, ['error'])
  })

  await t.test('the store is not used with a TTL of 0', async (t) => {
    const ctx = setupReplica({ ttlMs: 0 })
    ctx.source.answerAll()
    await lookup(ctx)
    t.strictSame(ctx.commands, [])
  })
})

await t.test('changes are found across replicas', async (t) => {
  const free = new Answer(station('a', connector('Type2', level(22)))).json
  const sameAs = (call: { answerWith: (body: never) => void }) => call.answerWith(JSON.parse(free) as never)

  await t.test('an answer equal to the stale one of a peer keeps the time of its change', async (t) => {
    const ctx = setupReplica({ staleWhileRevalidateMs: 0 })
    ctx.store.plant('a', peerAnswer(USABLE + 1, { json: free, changedAt: 1_700_000_000 }))
    ctx.source.always = sameAs
    t.equal((await ctx.cache.get('a')).changedAt, 1_700_000_000)
  })

  await t.test(
    'a peer that has not seen the answer before gives no time, so this replica sets it',
    async (t) => {
      const ctx = setupReplica({ staleWhileRevalidateMs: 0 })
      ctx.source.answerAll()
      await lookup(ctx)
      await ctx.clock.advance(FRESH + 60_000)
      ctx.store.plant('a', peerAnswer(10_000))
      const { changedAt } = await ctx.cache.get('a')
      t.equal(changedAt, Math.floor((ctx.clock.wall() - 10_000) / 1_000))
      t.match(ctx.stored.at(-1), { change: 'different', fromPeer: true })
    },
  )

  await t.test('the time of a change is published', async (t) => {
    const ctx = setupReplica({ staleWhileRevalidateMs: 0 })
    ctx.source.answerAll()
    await lookup(ctx)
    await ctx.clock.advance(FRESH + 60_000)
    const { changedAt } = await ctx.cache.get('a')
    const peer = await ctx.store.leaseGet('a', '', { token: 'x', ms: 1_000 })
    t.match(peer, { kind: 'answer', answer: { changedAt } })
    t.ok(changedAt > 0)
  })
})

/** A text of so many characters that is an answer of call 0. */
const longJson = (length: number) => peerAnswer(0).json.padEnd(length)

/** Whether the event loop has turned since the last answer was decoded. To be called before others use its turns. */
function watchDecoding(t: Test): () => boolean {
  const turn = countTurns(t)
  let decodedIn = 0
  const { parse } = JSON
  t.intercept(JSON, 'parse', {
    value: (...parameters: Parameters<typeof parse>): unknown => {
      decodedIn = turn()
      return parse(...parameters)
    },
  })
  return () => turn() > decodedIn
}

await t.test('a long answer of the store', async (t) => {
  await t.test('is rendered in a later turn than it is decoded in', async (t) => {
    const hasTurned = watchDecoding(t)
    const lengths = [-1, 0, 1].map((more) => MAX_SHORT_TEXT + more)
    const seen: (readonly [result: string, hasTurned: boolean])[] = []
    for (const length of lengths) {
      const ctx = setupReplica({}, undefined, undefined, new Turns())
      ctx.store.plant('a', peerAnswer(0, { json: longJson(length) }))
      const { result } = await ctx.cache.get('a')
      seen.push([result, hasTurned()])
    }
    t.strictSame(seen, [
      ['hit', false],
      ['hit', false],
      ['hit', true],
    ])
  })

  await t.test('is decoded as it comes while others wait, as each takes its bytes', async (t) => {
    const hasTurned = watchDecoding(t)
    const counts = [-1, 0].map((more) => MAX_WAITING_ANSWERS + more)
    const seen: boolean[] = []
    for (const count of counts) {
      const turns = new Turns()
      await turns.next()
      const others = Array.from({ length: count }, () => turns.next())
      const ctx = setupReplica({}, undefined, undefined, turns)
      ctx.store.plant('a', peerAnswer(0, { json: longJson(MAX_SHORT_TEXT + 1) }))
      await Promise.resolve() // the others wait now
      await ctx.cache.get('a')
      seen.push(hasTurned())
      await Promise.all(others)
    }
    t.strictSame(seen, [true, false])
  })

  for (const ageMs of [0, FRESH + 1]) {
    await t.test(`is not kept if it is purged while it waits (its age is ${ageMs} ms)`, async (t) => {
      const ctx = setupReplica({}, undefined, undefined, new Turns())
      ctx.source.answerAll()
      ctx.store.plant('a', peerAnswer(ageMs, { json: longJson(MAX_SHORT_TEXT + 1) }))
      const refreshed = ctx.cache.refresh('a') // for which an answer that is not fresh is kept, and replaced
      await settled()
      await ctx.cache.purge.one('a')
      await refreshed
      t.equal(ctx.cache.store.entries, 0)
    })
  }

  await t.test('that was published is not kept if it is purged while it waits', async (t) => {
    const ctx = setupReplica({}, undefined, undefined, new Turns())
    ctx.store.plant('a', peerAnswer(0, { json: longJson(MAX_SHORT_TEXT + 1) }))
    ctx.cache.published('a', 'of a peer', true)
    await Promise.resolve()
    await ctx.cache.purge.one('a')
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
    t.equal(ctx.cache.store.entries, 0)
  })
})
