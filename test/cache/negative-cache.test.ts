import t from 'tap'
import { allowsStaleFallback } from '../../src/errors.ts'
import {
  INITIAL_BACK_OFF_MS,
  MAX_BACK_OFF_MS,
  NegativeCache,
  PeerError,
} from '../../src/cache/negative-cache.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { ServiceError, STATUS_OF } from '../../src/errors.ts'
import { TestClock } from '../support/clock.ts'
import {
  callTimes,
  FRESH,
  lookup,
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
} from './setup.ts'

const { emptyTtlMs } = TIMES

const CODES = Object.keys(STATUS_OF) as ErrorCode[]

await t.test('the rules for errors', async (t) => {
  const cache = new NegativeCache({ negativeTtlMs: emptyTtlMs, clock: new TestClock() })
  const codesWith = (ms: number) =>
    CODES.filter((code) => cache.ttlMsFor('a', new ServiceError(code)) === ms).toSorted()

  await t.test(
    'a stale answer may replace a 429 and every 5xx of a lookup, and no client error',
    async (t) => {
      const codes = CODES.filter((code) => code !== 'TooManyStreams') // of a stream, not of a lookup
      t.strictSame(
        CODES.filter((code) => allowsStaleFallback(new ServiceError(code))),
        codes.filter((code) => STATUS_OF[code] === 429 || STATUS_OF[code] >= 500),
      )
    },
  )

  await t.test("upstream's 400 and 404 are cached for the negative TTL", async (t) => {
    t.strictSame(codesWith(emptyTtlMs), ['InvalidParameter', 'NotFound'])
  })

  await t.test('a failed call has a back-off', async (t) => {
    t.strictSame(codesWith(INITIAL_BACK_OFF_MS), ['InternalError', 'UpstreamFailed', 'UpstreamTimeout'])
  })

  await t.test('an error without a call has neither', async (t) => {
    t.strictSame(codesWith(0).length, CODES.length - 5)
  })
})

await t.test('the negative cache', async (t) => {
  const setupNegative = () => {
    const clock = new TestClock()
    return { clock, cache: new NegativeCache({ negativeTtlMs: emptyTtlMs, clock }) }
  }
  const failed = new ServiceError('UpstreamFailed')

  await t.test('the back-off doubles with each failure up to its maximum', async (t) => {
    const { cache } = setupNegative()
    const backOffs = []
    for (let i = 0; i < 6; i++) {
      backOffs.push(cache.ttlMsFor('a', failed))
      cache.record('a', failed)
    }
    t.strictSame(backOffs, [1_000, 2_000, 4_000, 8_000, MAX_BACK_OFF_MS, MAX_BACK_OFF_MS])
  })

  await t.test("a peer's error lasts for what is left of it", async (t) => {
    const { cache, clock } = setupNegative()
    const error = new PeerError('NotFound', 300)
    cache.record('a', error)
    t.equal(cache.ttlMsFor('a', error), 300)
    await clock.advance(299)
    t.equal(cache.get('a'), error)
    t.equal(cache.hasNegative('a'), true)
    await clock.advance(1)
    t.equal(cache.get('a'), null)
    t.equal(cache.hasNegative('a'), false)
  })

  await t.test('a back-off is not a negative entry', async (t) => {
    const { cache } = setupNegative()
    cache.record('a', failed)
    t.equal(cache.get('a'), failed)
    t.equal(cache.hasNegative('a'), false)
  })

  await t.test('the number of ids is bounded', async (t) => {
    const { cache } = setupNegative()
    for (let i = 0; i <= 10_000; i++) cache.record(`${i}`, failed)
    t.strictSame([cache.get('0'), cache.get('10000')], [null, failed])
  })

  await t.test('a cleared id may be called at once, and its next back-off is the initial one', async (t) => {
    const { cache } = setupNegative()
    cache.record('a', failed)
    cache.clear('a')
    t.equal(cache.get('a'), null)
    t.equal(cache.ttlMsFor('a', failed), INITIAL_BACK_OFF_MS)
  })
})

for (const code of ['InvalidParameter', 'NotFound'] as const) {
  await t.test(`upstream answers ${code}`, async (t) => {
    await t.test('all waiters get the error, and no entry is stored', async (t) => {
      const ctx = setup()
      const lookups = [startLookup(ctx), startLookup(ctx)]
      ctx.source.last.fail(code)
      t.strictSame(await outcomesOf(lookups), repeat(2, { error: code }))
      t.equal(ctx.cache.store.entries, 0)
    })

    await t.test(
      'lookups get the error without a call for the empty TTL, which they do not extend',
      async (t) => {
        const ctx = setup()
        ctx.source.failAll(code)
        const outcomes = [await lookup(ctx)]
        for (const ms of [1, emptyTtlMs / 2 - 1, emptyTtlMs / 2 - 1]) {
          await ctx.clock.advance(ms)
          outcomes.push(await lookup(ctx))
        }
        t.strictSame(outcomes, repeat(4, { error: code }))
        t.equal(ctx.source.calls.length, 1)
        await ctx.clock.advance(1)
        ctx.source.answerAll()
        t.strictSame(await lookup(ctx), miss(2))
      },
    )

    for (const ageMs of [REVALIDATING + 1, USABLE, USABLE + 1]) {
      await t.test(`an entry ${ageMs} ms old does not replace the error`, async (t) => {
        const ctx = await setupAged(ageMs)
        ctx.source.failAll(code)
        t.strictSame(await lookup(ctx), { error: code })
        t.strictSame(await lookup(ctx), { error: code })
        t.equal(ctx.source.calls.length, 2)
      })
    }

    await t.test('a refresh that ends in the error decides the next lookup', async (t) => {
      const ctx = await setupAged(FRESH + 1)
      ctx.source.failAll(code)
      t.strictSame(await lookup(ctx), stale(1, FRESH + 1))
      t.strictSame(await lookup(ctx), { error: code })
      t.equal(ctx.source.calls.length, 2)
    })

    await t.test(
      'the error removes no entry: after its TTL a failure is replaced by the stale answer',
      async (t) => {
        const ctx = await setupAged(REVALIDATING + 1)
        ctx.source.failAll(code)
        await lookup(ctx)
        await ctx.clock.advance(emptyTtlMs)
        ctx.source.failAll()
        const ageMs = REVALIDATING + 1 + emptyTtlMs
        t.strictSame(await lookup(ctx), staleError(1, ageMs, 'UpstreamFailed'))
      },
    )

    await t.test('other ids are not affected', async (t) => {
      const ctx = setup()
      ctx.source.failAll(code)
      await lookup(ctx)
      ctx.source.answerAll()
      t.strictSame(await lookup(ctx, 'b'), miss(2))
    })
  })
}

await t.test('a failed call is followed by a back-off', async (t) => {
  const DOUBLING = [0, 1_000, 3_000, 7_000, 15_000, 25_000, 35_000]

  await t.test('calls that fail are made after 1, 2, 4, 8, 10, 10 s', async (t) => {
    const ctx = setup()
    ctx.source.failAll()
    t.strictSame(await callTimes(ctx, 35_000), DOUBLING)
    t.strictSame([...new Set(ctx.events.map(({ result }) => result))], ['error'])
  })

  for (const { ageMs, staleWhileRevalidateMs } of [
    { ageMs: FRESH + 1, staleWhileRevalidateMs: 100_000 },
    { ageMs: REVALIDATING + 1, staleWhileRevalidateMs: 30_000 },
  ]) {
    await t.test(`the back-off is the same while an entry ${ageMs} ms old is served`, async (t) => {
      const ctx = await setupAged(ageMs, { staleWhileRevalidateMs })
      ctx.source.failAll('UpstreamTimeout')
      t.strictSame(await callTimes(ctx, 35_000), DOUBLING)
      t.notOk(ctx.events.some(({ result }) => result === 'error'))
    })
  }

  await t.test('an answer ends the back-off, and the next one begins at 1 s', async (t) => {
    const ctx = setup()
    ctx.source.failAll()
    await callTimes(ctx, 7_000)
    await ctx.clock.advance(10_000)
    ctx.source.answerAll()
    await lookup(ctx)
    await ctx.clock.advance(USABLE + 1)
    ctx.source.failAll()
    t.strictSame(await callTimes(ctx, 3_000), [0, 1_000, 3_000])
  })

  await t.test('other stations have no back-off', async (t) => {
    const ctx = setup()
    ctx.source.failAll()
    await lookup(ctx)
    t.strictSame(await callTimes(ctx, 3_000, 'b'), [0, 1_000, 3_000])
  })

  await t.test('an error without a call has no back-off', async (t) => {
    const ctx = setup()
    ctx.source.failAll('UpstreamUnavailable')
    t.equal((await callTimes(ctx, 1_000)).length, 11)
  })
})
