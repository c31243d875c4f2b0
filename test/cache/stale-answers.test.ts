import t from 'tap'
import type { ErrorCode } from '../../src/errors.ts'
import {
  FRESH,
  hit,
  lookup,
  miss,
  REVALIDATING,
  setup,
  setupAged,
  stale,
  staleError,
  startLookup,
  TIMES,
  USABLE,
} from './setup.ts'

const { ttlMs, softTimeoutMs, flightTimeoutMs, emptyTtlMs } = TIMES

/** Errors that a stale answer may replace. Whatever is not a ServiceError becomes InternalError. */
const ERRORS: readonly { thrown: unknown; code: ErrorCode; backsOff: boolean }[] = [
  { thrown: 'TooManyRequests', code: 'TooManyRequests', backsOff: false },
  { thrown: 'UpstreamRefused', code: 'UpstreamRefused', backsOff: false },
  { thrown: 'UpstreamUnavailable', code: 'UpstreamUnavailable', backsOff: false },
  { thrown: 'QuotaExhausted', code: 'QuotaExhausted', backsOff: false },
  { thrown: 'UpstreamFailed', code: 'UpstreamFailed', backsOff: true },
  { thrown: 'UpstreamTimeout', code: 'UpstreamTimeout', backsOff: true },
  { thrown: 'InternalError', code: 'InternalError', backsOff: true },
  { thrown: new TypeError('a bug'), code: 'InternalError', backsOff: true },
]

for (const { thrown, code, backsOff } of ERRORS) {
  await t.test(`a call fails with ${thrown as string}`, async (t) => {
    await t.test('a lookup without an entry gets the error, and nothing is stored', async (t) => {
      const ctx = setup()
      ctx.source.failAll(thrown)
      t.strictSame(await lookup(ctx), { error: code })
      t.strictSame([ctx.cache.store.entries, ctx.cache.store.bytes], [0, 0])
    })

    await t.test('a fresh entry is a hit without a call', async (t) => {
      const ctx = await setupAged(FRESH)
      ctx.source.failAll(thrown)
      t.strictSame(await lookup(ctx), hit(1, FRESH))
      t.equal(ctx.source.calls.length, 1)
    })

    for (const ageMs of [FRESH + 1, REVALIDATING]) {
      await t.test(`an entry ${ageMs} ms old is served before and after its refresh failed`, async (t) => {
        const ctx = await setupAged(ageMs)
        ctx.source.failAll(thrown)
        t.strictSame(await lookup(ctx), stale(1, ageMs))
        t.equal(ctx.source.calls.length, 2)
        t.strictSame(await lookup(ctx), backsOff ? staleError(1, ageMs, code) : stale(1, ageMs))
        t.equal(ctx.source.calls.length, backsOff ? 2 : 3)
      })
    }

    for (const ageMs of [REVALIDATING + 1, USABLE]) {
      await t.test(`an entry ${ageMs} ms old replaces the error`, async (t) => {
        const ctx = await setupAged(ageMs)
        ctx.source.failAll(thrown)
        t.strictSame(await lookup(ctx), staleError(1, ageMs, code))
        t.strictSame(await lookup(ctx), staleError(1, ageMs, code))
        t.equal(ctx.source.calls.length, backsOff ? 2 : 3)
      })
    }

    await t.test(`an entry ${USABLE + 1} ms old is expired and replaces no error`, async (t) => {
      const ctx = await setupAged(USABLE + 1)
      ctx.source.failAll(thrown)
      t.strictSame(await lookup(ctx), { error: code })
      t.strictSame(await lookup(ctx), { error: code })
      t.equal(ctx.source.calls.length, backsOff ? 2 : 3)
    })

    await t.test('the next successful call is served and stored', async (t) => {
      const ctx = await setupAged(REVALIDATING + 1)
      ctx.source.failAll(thrown)
      await lookup(ctx)
      await ctx.clock.advance(1_000)
      ctx.source.answerAll()
      t.strictSame(await lookup(ctx), miss(3, true))
      t.strictSame(await lookup(ctx), hit(3, 0))
    })
  })
}

await t.test('an error is never stored as an answer: 200, 500, 500, 404, 200', async (t) => {
  const ctx = await setupAged(REVALIDATING + 1)
  ctx.source.failAll('UpstreamFailed')
  await lookup(ctx)
  await ctx.clock.advance(10_000)
  await lookup(ctx)
  await ctx.clock.advance(10_000)
  ctx.source.failAll('NotFound')
  t.strictSame(await lookup(ctx), { error: 'NotFound' })
  t.equal(ctx.cache.store.entries, 1, 'only the answer')
  await ctx.clock.advance(emptyTtlMs)
  ctx.source.answerAll()
  t.strictSame(await lookup(ctx), miss(5, true))
})

await t.test('the longer of the two stale windows is how long an entry may replace an error', async (t) => {
  const options = { staleWhileRevalidateMs: 100_000, staleIfErrorMs: 0 }
  const ctx = await setupAged(ttlMs + 100_000, options)
  ctx.source.failAll()
  await lookup(ctx)
  t.strictSame(await lookup(ctx), staleError(1, ttlMs + 100_000, 'UpstreamFailed'))
  await ctx.clock.advance(1)
  t.strictSame(await lookup(ctx), { error: 'UpstreamFailed' })
})

await t.test('a stale entry is served after the soft timeout', async (t) => {
  const ageMs = 100_000

  await t.test(
    'a waiter gets the stale entry at the soft timeout and not a millisecond before',
    async (t) => {
      const ctx = await setupAged(ageMs)
      const waiter = startLookup(ctx)
      await ctx.clock.advance(softTimeoutMs - 1)
      t.equal(waiter.ended, null)
      await ctx.clock.advance(1)
      t.strictSame(waiter.ended, stale(1, ageMs + softTimeoutMs))
    },
  )

  await t.test('an answer before the soft timeout is served, and no timer is left', async (t) => {
    const ctx = await setupAged(ageMs)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(softTimeoutMs - 1)
    ctx.source.last.answer()
    t.strictSame(await waiter.outcome, miss(2, true))
    t.equal(ctx.clock.pending, 0)
  })

  await t.test('an error before the soft timeout is replaced, and no timer is left', async (t) => {
    const ctx = await setupAged(ageMs)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(softTimeoutMs - 1)
    ctx.source.last.fail()
    t.strictSame(await waiter.outcome, staleError(1, ageMs + softTimeoutMs - 1, 'UpstreamFailed'))
    t.equal(ctx.clock.pending, 0)
  })

  await t.test('the call goes on, and its answer is a hit for the next lookup', async (t) => {
    const ctx = await setupAged(ageMs)
    startLookup(ctx)
    await ctx.clock.advance(softTimeoutMs)
    t.equal(ctx.cache.inFlightCalls, 1)
    await ctx.source.last.answerAndSettle()
    t.strictSame(await lookup(ctx), hit(2, 0))
    t.equal(ctx.source.calls.length, 2)
  })

  await t.test('each waiter has a soft timeout of its own', async (t) => {
    const ctx = await setupAged(ageMs)
    const first = startLookup(ctx)
    await ctx.clock.advance(500)
    const second = startLookup(ctx)
    await ctx.clock.advance(300)
    t.strictSame(first.ended, stale(1, ageMs + 800))
    t.equal(second.ended, null)
    await ctx.clock.advance(500)
    t.strictSame(second.ended, stale(1, ageMs + 1_300))
    t.equal(ctx.source.calls.length, 2)
  })

  await t.test('an entry that is just usable at the soft timeout is served', async (t) => {
    const ctx = await setupAged(USABLE - softTimeoutMs)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(softTimeoutMs)
    t.strictSame(waiter.ended, stale(1, USABLE))
  })

  await t.test('a waiter goes on waiting if the entry expires before the soft timeout', async (t) => {
    const ctx = await setupAged(USABLE - softTimeoutMs + 1)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(softTimeoutMs)
    t.equal(waiter.ended, null)
    ctx.source.last.answer()
    t.strictSame(await waiter.outcome, miss(2, true))
  })

  await t.test('an entry that expires before the call fails replaces no error', async (t) => {
    const ctx = await setupAged(USABLE - softTimeoutMs + 1)
    const waiter = startLookup(ctx)
    await ctx.clock.advance(softTimeoutMs)
    ctx.source.last.fail()
    t.strictSame(await waiter.outcome, { error: 'UpstreamFailed' })
  })

  for (const [kind, create] of [
    ['no', async () => setup()],
    ['an expired', () => setupAged(USABLE + 1)],
  ] as const) {
    await t.test(`a waiter with ${kind} entry waits until the deadline of the call`, async (t) => {
      const ctx = await create()
      const waiter = startLookup(ctx)
      await ctx.clock.advance(flightTimeoutMs - 1)
      t.equal(waiter.ended, null)
      await ctx.clock.advance(1)
      t.strictSame(waiter.ended, { error: 'UpstreamTimeout' })
    })
  }
})
