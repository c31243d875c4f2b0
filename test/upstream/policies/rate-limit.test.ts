import * as fc from 'fast-check'
import t from 'tap'
import { RateLimit } from '../../../src/upstream/policies/rate-limit.ts'
import { bucketFor, LocalTokenBucket } from '../../../src/upstream/state/token-bucket.ts'
import type { Clock } from '../../../src/lib/clock.ts'
import type { Source } from '../../../src/source.ts'
import { settled, TestClock } from '../../support/clock.ts'
import { answering, CALLER, ended, failing, failure, REFRESH, ScriptedSource, watch } from '../doubles.ts'

/** What leaves here a second apart may arrive closer: no wait is cut finer than this. */
const MARGIN_MS = 20

interface Limits {
  readonly perSecond: number
  readonly queueTimeoutMs: number
}

function withRateLimit(inner: Source, { perSecond, queueTimeoutMs }: Limits, clock: Clock) {
  const tokens = perSecond === 0 ? null : new LocalTokenBucket(bucketFor(perSecond), clock)
  const limit = new RateLimit({ queueTimeoutMs }, { tokens, clock })
  return { source: limit.policy(inner), queueLength: () => limit.queued }
}

function limited(perSecond: number, queueTimeoutMs: number) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  inner.always = answering
  const limit = withRateLimit(inner.source, { perSecond, queueTimeoutMs }, clock)
  const startedAt = clock.now()
  return {
    ...limit,
    clock,
    inner,
    /** When each call went out, in ms from the start. */
    times: () => inner.sent.map(({ at }) => at - startedAt),
    ask: (count: number, call = CALLER) =>
      Array.from({ length: count }, (_, i) => watch(limit.source(`${i}`, call))),
  }
}

await t.test('the limit holds, whoever comes whenever', async (t) => {
  const arrivals = fc.array(
    fc.record({
      gapMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 1_200 })),
      background: fc.boolean(),
    }),
    { minLength: 1, maxLength: 40 },
  )
  const perSecond = fc.constantFrom(0.5, 1, 1.5, 2, 5, 7.5, 8, 20)
  const queueTimeoutMs = fc.constantFrom(0, 100, 1_000, 2_500)

  await t.test('in any second, wherever it begins; and nobody is refused who had a place', async () => {
    await fc.assert(
      fc.asyncProperty(perSecond, queueTimeoutMs, arrivals, async (perSecond, queueTimeoutMs, arrivals) => {
        const { clock, source, inner, queueLength } = limited(perSecond, queueTimeoutMs)
        const places = Math.ceil(perSecond)
        const windowMs = (places / perSecond) * 1_000
        const reserve = Math.floor(places / 4)
        const granted: number[] = []
        for (const { gapMs, background } of arrivals) {
          await clock.advance(gapMs)
          const now = clock.now()
          // So many calls ago a place was taken that is free again one window later.
          const freeIn = (index: number) => {
            const taken = granted.at(index - places)
            return taken === undefined ? 0 : Math.max(0, taken + windowMs + MARGIN_MS - now)
          }
          const call = watch(source('a', { lowPriority: background, hasStale: background }))
          await settled()
          const refused = call.state === 'TooManyRequests'
          const toSpareMs = background ? -freeIn(reserve) : queueTimeoutMs + MARGIN_MS - freeIn(0)
          if (Math.abs(toSpareMs) > 0.001 && refused !== toSpareMs < 0) {
            throw new Error(`${refused ? 'refused' : 'let in'} with ${toSpareMs} ms to spare`)
          }
          if (refused && call.error!.retryAfterMs! < 1_000) throw new Error('Retry-After below one second')
          if (!refused) granted.push(now + freeIn(0))
        }
        await clock.advance(queueTimeoutMs + MARGIN_MS)
        const sent = inner.sent.map(({ at }) => at)
        for (const [i, at] of sent.entries()) {
          const next = sent[i + places]
          if (next !== undefined && next - at < windowMs) throw new Error(`too many from ${at} to ${next}`)
        }
        if (sent.length !== granted.length) throw new Error('a call that was let in was not sent')
        if (queueLength() !== 0) throw new Error('somebody waits for ever')
      }),
      { numRuns: 150 },
    )
  })

  await t.test('a burst, then another right at the border of the second', async (t) => {
    const { ask, clock, times } = limited(5, 0)
    ask(7)
    await clock.advance(999)
    ask(7)
    await clock.advance(1 + MARGIN_MS)
    ask(7)
    await clock.advance(0)
    t.strictSame(times(), [0, 0, 0, 0, 0, 1_020, 1_020, 1_020, 1_020, 1_020])
  })

  await t.test('a fraction is so many calls in a longer time: 0.5 is one in two seconds', async (t) => {
    const { ask, clock, times } = limited(0.5, 10_000)
    ask(4)
    await clock.advance(10_000)
    t.strictSame(times(), [0, 2_020, 4_040, 6_060])
  })

  await t.test('0 is no limit', async (t) => {
    const { ask, inner, queueLength, clock } = limited(0, 0)
    ask(1_000)
    ask(1_000, REFRESH)
    t.equal(queueLength(), 0)
    t.equal(inner.sent.length, 2_000)
    t.equal(clock.pending, 0)
  })
})

await t.test('the queue', async (t) => {
  await t.test('keeps the order, is counted, and is empty in the end', async (t) => {
    const { source, clock, inner, queueLength } = limited(2, 5_000)
    const callers = ['a', 'b', 'c', 'd', 'e', 'f'].map((id) => watch(source(id, CALLER)))
    t.equal(queueLength(), 4)
    await clock.advance(1_020)
    t.equal(queueLength(), 2)
    t.strictSame(
      callers.map(({ state }) => state),
      ['ok', 'ok', 'ok', 'ok', 'pending', 'pending'],
    )
    await clock.advance(1_020)
    t.equal(queueLength(), 0)
    t.equal(inner.sent.map(({ id }) => id).join(''), 'abcdef')
  })

  await t.test(
    'is no longer than UPSTREAM_QUEUE_TIMEOUT: at it, let in; over it, refused at once',
    async (t) => {
      for (const [asksAfterMs, queueTimeoutMs, state] of [
        [0, 1_001, 'pending'],
        [0, 1_000, 'pending'],
        [0, 999, 'TooManyRequests'],
        [600, 401, 'pending'],
        [600, 400, 'pending'],
        [600, 399, 'TooManyRequests'],
      ] as const) {
        const { ask, clock } = limited(1, queueTimeoutMs)
        ask(1)
        await clock.advance(asksAfterMs)
        const [second] = ask(1)
        await settled()
        t.equal(second?.state, state, `${queueTimeoutMs} ms, ${asksAfterMs} ms after the first`)
      }
    },
  )

  await t.test(
    'a refusal says when to come back, at least a second from now, and takes no place',
    async (t) => {
      const { ask, source, clock } = limited(1, 2_500)
      ask(3)
      const refused = await ended(source('a', CALLER))
      t.equal(refused.state, 'TooManyRequests')
      t.equal(refused.error?.status, 429)
      t.equal(refused.error?.retryAfterMs, 3 * 1_020)
      for (let i = 0; i < 100; i++) await ended(source('a', CALLER))
      await clock.advance(1_020)
      const next = watch(source('b', CALLER))
      await settled()
      t.equal(next.state, 'pending', 'the refused took no place')
      const soon = limited(1, 0)
      soon.ask(1)
      await soon.clock.advance(900)
      t.equal((await ended(soon.source('a', CALLER))).error?.retryAfterMs, 1_000)
    },
  )

  await t.test(
    'a call that fails gives its error as it is, and its place was taken all the same',
    async (t) => {
      const { source, inner, clock } = limited(1, 0)
      const error = failure('server_error')
      inner.always = failing(() => error)
      t.equal((await ended(source('a', CALLER))).error, error)
      t.equal((await ended(source('a', CALLER))).state, 'TooManyRequests')
      await clock.advance(1_020)
      t.equal((await ended(source('a', CALLER))).error, error)
    },
  )
})

await t.test('a background call', async (t) => {
  await t.test('never waits', async (t) => {
    const { ask, source, queueLength } = limited(2, 60_000)
    ask(2)
    t.equal((await ended(source('a', REFRESH))).state, 'TooManyRequests')
    t.equal(queueLength(), 0)
  })

  await t.test('leaves the last quarter to callers who have nothing', async (t) => {
    for (const [perSecond, forRefreshes] of [
      [1, 1],
      [3, 3],
      [4, 3],
      [5, 4],
      [8, 6],
      [50, 38],
    ] as const) {
      const { ask, inner } = limited(perSecond, 0)
      ask(perSecond + 10, REFRESH)
      await settled()
      t.equal(inner.sent.length, forRefreshes, `${perSecond} a second: refreshes`)
      ask(perSecond + 10)
      await settled()
      t.equal(inner.sent.length, perSecond, `${perSecond} a second: all`)
    }
  })
})

/** A second in which timers fire late, as they do when the event loop is held up. */
function heldUp(perSecond: number) {
  const clock = new TestClock()
  const start = clock.now()
  const after = (ms: number, callback: () => void) => {
    const due = clock.now() + ms - start
    return clock.after(ms + (due > 500 && due < 1_500 ? 300 : 0), callback)
  }
  const inner = new ScriptedSource(clock.now)
  inner.always = answering
  const options = { perSecond, queueTimeoutMs: 10_000 }
  const limit = withRateLimit(inner.source, options, { now: clock.now, wall: clock.wall, after })
  return { ...limit, clock, times: () => inner.sent.map(({ at }) => at - start) }
}

/** Between each call and the one that had its place before. */
function gaps(times: readonly number[], places: number): number[] {
  return times.slice(places).map((time, i) => time - (times[i] as number))
}

await t.test('a process that was busy lets its calls out late', async (t) => {
  await t.test('who waits for the place of one of them waits a second from then', async (t) => {
    const { clock, source, times, queueLength } = heldUp(2)
    for (let i = 0; i < 8; i++) watch(source(`${i}`, CALLER))
    await clock.advance(10_000)
    t.equal(times().length, 8)
    t.equal(queueLength(), 0)
    t.ok(
      gaps(times(), 2).every((gap) => gap >= 1_000),
      times().join(', '),
    )
  })

  await t.test('and who comes later, too', async (t) => {
    const { clock, source, times } = heldUp(2)
    for (let i = 0; i < 4; i++) watch(source(`${i}`, CALLER))
    await clock.advance(2_100)
    for (let i = 0; i < 2; i++) watch(source(`${i}`, CALLER))
    t.equal((await ended(source('r', REFRESH))).state, 'TooManyRequests')
    await clock.advance(10_000)
    t.equal(times().length, 6)
    t.ok(
      gaps(times(), 2).every((gap) => gap >= 1_000),
      times().join(', '),
    )
  })
})

await t.test('a call is on its way for a while, and the second begins when it arrives', async (t) => {
  const sentBy = async (answeredAfterMs: number) => {
    const clock = new TestClock()
    const inner = new ScriptedSource(clock.now)
    inner.always = (id) =>
      new Promise((resolve) => void clock.after(answeredAfterMs, () => resolve(answering(id))))
    const { source } = withRateLimit(inner.source, { perSecond: 1, queueTimeoutMs: 5_000 }, clock)
    const startedAt = clock.now()
    for (let i = 0; i < 3; i++) watch(source(`${i}`, CALLER))
    await clock.advance(10_000)
    watch(source('late', CALLER))
    t.equal(inner.sent.length, 4, 'nothing is held up for good')
    return inner.sent.slice(0, 3).map(({ at }) => at - startedAt)
  }

  await t.test('which is when it is answered, at the latest', async (t) => {
    t.strictSame(await sentBy(0), [0, 1_020, 2_040])
    t.strictSame(await sentBy(60), [0, 1_080, 2_160])
  })

  await t.test(
    'or a tenth of a second after it left: no upstream, slow as it may be, slows the calls more',
    async (t) => {
      t.strictSame(await sentBy(100), [0, 1_120, 2_240])
      t.strictSame(await sentBy(3_000), [0, 1_120, 2_240])
    },
  )

  await t.test('whoever comes when the place is free', async (t) => {
    const clock = new TestClock()
    const inner = new ScriptedSource(clock.now)
    const { source } = withRateLimit(inner.source, { perSecond: 1, queueTimeoutMs: 0 }, clock)
    watch(source('a', CALLER))
    await clock.advance(1_119)
    t.equal((await ended(source('b', REFRESH))).state, 'TooManyRequests')
    await clock.advance(1)
    watch(source('c', REFRESH))
    await inner.sent[0]?.answer()
    t.equal(inner.last.id, 'c')
    await clock.advance(500)
    t.equal((await ended(source('d', REFRESH))).state, 'TooManyRequests')
    await clock.advance(619)
    t.equal(
      (await ended(source('d', REFRESH))).state,
      'TooManyRequests',
      'the answer of the first is old news',
    )
    await clock.advance(1)
    watch(source('e', REFRESH))
    t.equal(inner.last.id, 'e')
  })
})
