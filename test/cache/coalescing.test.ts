import t from 'tap'
import type { CacheOptions } from '../../src/cache/cache.ts'
import { CALL_BYTES, WAITER_BYTES } from '../../src/cache/single-flight.ts'
import { settled } from '../support/clock.ts'
import {
  coalesced,
  FRESH,
  hit,
  lookup,
  MAX_WAITERS,
  miss,
  outcomesOf,
  repeat,
  REVALIDATING,
  setup,
  setupAged,
  stale,
  staleError,
  startLookup,
  TIMES,
  USABLE,
  waiters,
} from './setup.ts'

const { flightTimeoutMs, softTimeoutMs } = TIMES

await t.test('one call per station is in flight', async (t) => {
  await t.test('500 lookups without an entry wait for one call', async (t) => {
    const ctx = setup()
    const lookups = await waiters(ctx, 500)
    t.equal(ctx.source.calls.length, 1)
    ctx.source.last.answer()
    t.strictSame(await outcomesOf(lookups), [miss(1), ...repeat(499, coalesced(1))])
  })

  await t.test('64 lookups of a stale entry start one refresh, however long it takes', async (t) => {
    const ctx = await setupAged(FRESH + 1)
    const outcomes = []
    for (let i = 0; i < 32; i++) outcomes.push(await lookup(ctx))
    for (let i = 0; i < 32; i++) {
      await ctx.clock.advance(10)
      outcomes.push(await lookup(ctx))
    }
    const ages = [...repeat(32, 0), ...Array.from({ length: 32 }, (_, i) => 10 * (i + 1))]
    t.strictSame(
      outcomes,
      ages.map((ms) => stale(1, FRESH + 1 + ms)),
    )
    t.equal(ctx.source.calls.length, 2)
    t.equal(ctx.cache.inFlightCalls, 1)
  })

  await t.test('a refresh in flight is shared by lookups that have to wait', async (t) => {
    const ctx = await setupAged(REVALIDATING)
    await lookup(ctx)
    await ctx.clock.advance(1)
    const waiter = startLookup(ctx)
    await settled()
    t.equal(ctx.source.calls.length, 2)
    ctx.source.last.answer()
    t.strictSame(await waiter.outcome, coalesced(2, true))
  })

  for (const { ageMs, expected } of [
    { ageMs: REVALIDATING + 1, expected: staleError(1, REVALIDATING + 1, 'UpstreamFailed') },
    { ageMs: USABLE + 1, expected: { error: 'UpstreamFailed' as const } },
  ]) {
    await t.test(`the error of a call is shared by all waiters of an entry ${ageMs} ms old`, async (t) => {
      const ctx = await setupAged(ageMs)
      const lookups = await waiters(ctx, 64)
      ctx.source.last.fail()
      t.strictSame(await outcomesOf(lookups), repeat(64, expected))
      t.strictSame(await outcomesOf(await waiters(ctx, 500)), repeat(500, expected))
      t.equal(ctx.source.calls.length, 2, 'no waiter retries by itself')
    })
  }

  await t.test('a lookup in reaction to a failure makes no call', async (t) => {
    const ctx = setup()
    ctx.source.failAll()
    const again = startLookup(ctx).outcome.then(() => startLookup(ctx).outcome)
    t.strictSame(await again, { error: 'UpstreamFailed' })
    t.equal(ctx.source.calls.length, 1)
  })

  await t.test('a lookup at any microtask around a failure makes no call', async (t) => {
    const seen = []
    for (let turns = 0; turns < 20; turns++) {
      const ctx = setup()
      startLookup(ctx)
      await settled()
      ctx.source.last.fail()
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      seen.push([await lookup(ctx), ctx.source.calls.length])
    }
    t.strictSame(seen, repeat(20, [{ error: 'UpstreamFailed' }, 1]))
  })

  await t.test('a source that throws instead of rejecting is a failed call', async (t) => {
    const ctx = setup()
    ctx.source.always = () => {
      throw new Error('a bug')
    }
    t.strictSame(await lookup(ctx), { error: 'InternalError' })
    t.equal(ctx.cache.inFlightCalls, 0)
  })

  await t.test('a call that reaches its deadline is an error, and the next lookup calls again', async (t) => {
    const ctx = setup()
    const lookups = await waiters(ctx, 2)
    await ctx.clock.advance(flightTimeoutMs - 1)
    t.strictSame(
      lookups.map(({ ended }) => ended),
      [null, null],
    )
    await ctx.clock.advance(1)
    t.strictSame(await outcomesOf(lookups), repeat(2, { error: 'UpstreamTimeout' }))
    await ctx.clock.advance(1_000)
    const next = startLookup(ctx)
    await settled()
    ctx.source.call(2).answer()
    t.strictSame(await next.outcome, miss(2))
  })

  await t.test('the in-flight call of a station can be awaited', async (t) => {
    const ctx = setup()
    t.equal(ctx.cache.inFlight('a'), undefined)
    startLookup(ctx)
    const call = ctx.cache.inFlight('a')
    t.ok(call)
    ctx.source.last.answer()
    await call
    t.equal(ctx.cache.inFlight('a'), undefined)
  })
})

await t.test('waiters and calls of all stations together are limited', async (t) => {
  await t.test(`a lookup without room gets a 503 until a waiter disconnects`, async (t) => {
    const ctx = setup()
    const [first, ...others] = await waiters(ctx, MAX_WAITERS - 1)
    const last = startLookup(ctx)
    t.strictSame(await lookup(ctx), { error: 'UpstreamUnavailable' })
    t.strictSame(await lookup(ctx, 'b'), { error: 'UpstreamUnavailable' }, 'of another station too')
    const error = await Promise.resolve(ctx.cache.get('a')).catch((error: unknown) => error)
    t.match(error, { code: 'UpstreamUnavailable', retryAfterMs: 1_000 })

    first?.disconnect()
    await settled()
    const another = startLookup(ctx)
    t.strictSame(await lookup(ctx), { error: 'UpstreamUnavailable' })
    ctx.source.call(1).answer()
    const outcomes = await outcomesOf([...others, last, another])
    t.strictSame(new Set(outcomes.map((outcome) => JSON.stringify(outcome))).size, 1)
    t.strictSame(outcomes[0], coalesced(1))
    t.equal(ctx.source.calls.length, 1, 'no call is made for a station without room')
    t.equal(ctx.events.filter(({ result }) => result === 'error').length, 4)
    const after = startLookup(ctx, 'c')
    ctx.source.last.answer()
    t.strictSame(await after.outcome, miss(2), 'what has ended makes room')
  })

  await t.test('calls whose clients have gone still count', async (t) => {
    const ctx = setup()
    const most = Math.floor((MAX_WAITERS * WAITER_BYTES) / CALL_BYTES)
    for (let i = 0; i < most; i++) {
      const gone = startLookup(ctx, `cold-${i}`)
      await settled()
      gone.disconnect()
      await gone.outcome
    }
    t.strictSame(await lookup(ctx), { error: 'UpstreamUnavailable' })
  })

  await t.test('without room, a stale answer is served without a refresh', async (t) => {
    const ctx = await setupAged(FRESH + 1)
    await waiters(ctx)
    t.match(await lookup(ctx), { result: 'stale' })
    const others = Array.from({ length: MAX_WAITERS }, () => startLookup(ctx, 'b'))
    await settled()
    const calls = ctx.source.calls.length
    await ctx.clock.advance(TIMES.flightTimeoutMs - 1)
    t.match(await lookup(ctx), { result: 'stale' })
    t.equal(ctx.source.calls.length, calls)
    t.equal(others.length, MAX_WAITERS)
  })

  await t.test('a lookup over the limit gets the stale entry if there is one', async (t) => {
    const ctx = await setupAged(REVALIDATING + 1)
    await waiters(ctx)
    t.strictSame(await lookup(ctx), staleError(1, REVALIDATING + 1, 'UpstreamUnavailable'))
  })
})

await t.test('a client that disconnects affects no other waiter', async (t) => {
  await t.test('the call goes on for the others when its first waiter disconnects', async (t) => {
    const ctx = setup()
    const [first, ...others] = [startLookup(ctx), startLookup(ctx), startLookup(ctx)]
    first?.disconnect()
    t.strictSame(await first?.outcome, { error: 'disconnected' })
    ctx.source.last.answer()
    t.strictSame(await outcomesOf(others), repeat(2, coalesced(1)))
    t.equal(ctx.source.calls.length, 1)
  })

  await t.test('the answer is stored even if all waiters have disconnected', async (t) => {
    const ctx = setup()
    const lookups = [startLookup(ctx), startLookup(ctx)]
    for (const { disconnect } of lookups) disconnect()
    t.strictSame(await outcomesOf(lookups), repeat(2, { error: 'disconnected' }))
    t.equal(ctx.cache.inFlightCalls, 1)
    ctx.source.last.answer()
    await settled()
    t.equal(ctx.cache.inFlightCalls, 0)
    t.strictSame(await lookup(ctx), hit(1, 0))
  })

  await t.test('a waiter that disconnects gets no stale entry and leaves no timer', async (t) => {
    const ctx = await setupAged(REVALIDATING + 1)
    const waiter = startLookup(ctx)
    await settled()
    waiter.disconnect()
    t.strictSame(await waiter.outcome, { error: 'disconnected' })
    ctx.source.last.fail()
    await ctx.clock.advance(softTimeoutMs)
    t.equal(ctx.clock.pending, 0)
    t.strictSame(ctx.events, [{ result: 'miss', ageSeconds: null }])
  })

  await t.test('an error of onWait is handled like an error of the call, and no call is made', async (t) => {
    const onWait = () => {
      throw new TypeError('a bug')
    }
    const cold = setup()
    const error = await Promise.resolve(cold.cache.get('a', onWait)).catch((error: unknown) => error)
    t.match(error, { code: 'InternalError' })
    t.equal(cold.source.calls.length, 0)
    const aged = await setupAged(REVALIDATING + 1)
    t.match(await aged.cache.get('a', onWait), { result: 'stale_error' })
    t.equal(aged.source.calls.length, 1)
  })
})

await t.test('a call past its deadline never replaces what a later call brought', async (t) => {
  /** Call 1 is past its deadline and has not ended. */
  const setupAbandoned = async (options: Partial<CacheOptions> = {}) => {
    const ctx = setup(options)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(flightTimeoutMs)
    t.strictSame(waiter.ended, { error: 'UpstreamTimeout' })
    return ctx
  }

  await t.test('the late answer does not replace the answer of a later call', async (t) => {
    const ctx = await setupAbandoned()
    await ctx.clock.advance(1_000)
    ctx.source.answerAll()
    await lookup(ctx)
    ctx.source.call(1).answer()
    await ctx.clock.advance(10)
    t.strictSame(await lookup(ctx), hit(2, 10))
  })

  await t.test('the late answer is what a doubtful empty one of the same moment leaves', async (t) => {
    const ctx = setup({ staleWhileRevalidateMs: 0 })
    ctx.source.answerAll()
    await lookup(ctx)
    await ctx.clock.advance(FRESH + 1)
    ctx.source.always = null
    startLookup(ctx)
    await ctx.clock.advance(flightTimeoutMs + 1_000)
    startLookup(ctx)
    await settled()
    ctx.source.call(2).answer()
    ctx.source.call(3).answerEmpty()
    await settled()
    t.match(await lookup(ctx), { result: 'stale', call: 2 })
  })

  await t.test('the late answer does not end the negative entry of a later call', async (t) => {
    const ctx = await setupAbandoned()
    await ctx.clock.advance(1_000)
    ctx.source.failAll('NotFound')
    await lookup(ctx)
    ctx.source.call(1).answer()
    await settled()
    t.strictSame(await lookup(ctx), { error: 'NotFound' })
    t.equal(ctx.source.calls.length, 2)
  })

  await t.test('the late answer does not end the back-off of a later call', async (t) => {
    const ctx = await setupAbandoned({ ttlMs: 0 })
    await ctx.clock.advance(1_000)
    ctx.source.failAll('UpstreamFailed')
    await lookup(ctx)
    ctx.source.call(1).answer()
    await settled()
    t.strictSame(await lookup(ctx), { error: 'UpstreamFailed' })
    t.equal(ctx.source.calls.length, 2)
  })

  await t.test('the late error does not end the later call in flight', async (t) => {
    const ctx = await setupAbandoned()
    await ctx.clock.advance(1_000)
    const second = startLookup(ctx)
    await settled()
    ctx.source.call(1).fail()
    await settled()
    t.equal(ctx.cache.inFlightCalls, 1)
    ctx.source.call(2).answer()
    t.strictSame(await second.outcome, miss(2))
  })

  await t.test('the late answer is stored if there is no later call', async (t) => {
    const ctx = await setupAbandoned()
    ctx.source.call(1).answer()
    await settled()
    t.strictSame(await lookup(ctx), hit(1, 0))
  })
})
