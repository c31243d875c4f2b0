import * as fc from 'fast-check'
import t from 'tap'
import { RateLimit } from '../../../src/upstream/policies/rate-limit.ts'
import { SendGate } from '../../../src/upstream/state/send-gate.ts'
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
  const bucket = bucketFor(perSecond)
  const buckets = { tokens: new LocalTokenBucket(bucket, clock), gate: new SendGate(bucket.count, clock) }
  const heldBack: string[] = []
  const observer = { upstreamHeldBack: (by: string) => void heldBack.push(by) }
  const limit = new RateLimit(
    { queueTimeoutMs },
    { limit: perSecond === 0 ? null : buckets, clock, observer },
  )
  return { source: limit.policy(limit.send(inner)), queueLength: () => limit.queued, heldBack }
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
    request: (count: number, call = CALLER) =>
      Array.from({ length: count }, (_, i) => watch(limit.source(`${i}`, call))),
  }
}

await t.test('the limit of calls per second', async (t) => {
  const arrivals = fc.array(
    fc.record({
      gapMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 1_200 })),
      background: fc.boolean(),
    }),
    { minLength: 1, maxLength: 40 },
  )
  const perSecond = fc.constantFrom(0.5, 1, 1.5, 2, 5, 7.5, 8, 20)
  const queueTimeoutMs = fc.constantFrom(0, 100, 1_000, 2_500)

  await t.test('no second has more calls than the limit, and no call with a token is denied', async () => {
    await fc.assert(
      fc.asyncProperty(perSecond, queueTimeoutMs, arrivals, async (perSecond, queueTimeoutMs, arrivals) => {
        const { clock, source, inner, queueLength } = limited(perSecond, queueTimeoutMs)
        const tokens = Math.ceil(perSecond)
        const windowMs = (tokens / perSecond) * 1_000
        const reserve = Math.floor(tokens / 4)
        const granted: number[] = []
        for (const { gapMs, background } of arrivals) {
          await clock.advance(gapMs)
          const now = clock.now()
          // So many calls ago a place was taken that is free again one window later.
          const freeIn = (index: number) => {
            const taken = granted.at(index - tokens)
            return taken === undefined ? 0 : Math.max(0, taken + windowMs + MARGIN_MS - now)
          }
          const call = watch(
            source('a', { lowPriority: background, hasStale: background, isKnown: background }),
          )
          await settled()
          const denied = call.state === 'TooManyRequests'
          const toSpareMs = background ? -freeIn(reserve) : queueTimeoutMs + MARGIN_MS - freeIn(0)
          if (Math.abs(toSpareMs) > 0.001 && denied !== toSpareMs < 0) {
            throw new Error(`${denied ? 'denied' : 'admitted'} with ${toSpareMs} ms to spare`)
          }
          if (denied && call.error!.retryAfterMs! < 1_000) throw new Error('Retry-After below one second')
          if (!denied) granted.push(now + freeIn(0))
        }
        await clock.advance(queueTimeoutMs + MARGIN_MS)
        const sent = inner.sent.map(({ at }) => at)
        for (const [i, at] of sent.entries()) {
          const next = sent[i + tokens]
          if (next !== undefined && next - at < windowMs) throw new Error(`too many from ${at} to ${next}`)
        }
        if (sent.length !== granted.length) throw new Error('an admitted call was not sent')
        if (queueLength() !== 0) throw new Error('a call queues for ever')
      }),
      { numRuns: 150 },
    )
  })

  await t.test('a burst at the end of a second waits for the tokens of the last', async (t) => {
    const { request, clock, times } = limited(5, 0)
    request(7)
    await clock.advance(999)
    request(7)
    await clock.advance(1 + MARGIN_MS)
    request(7)
    await clock.advance(0)
    t.strictSame(times(), [0, 0, 0, 0, 0, 1_020, 1_020, 1_020, 1_020, 1_020])
  })

  await t.test('a limit of 0.5 is one call in two seconds', async (t) => {
    const { request, clock, times } = limited(0.5, 10_000)
    request(4)
    await clock.advance(10_000)
    t.strictSame(times(), [0, 2_020, 4_040, 6_060])
  })

  await t.test('a limit of 0 limits nothing', async (t) => {
    const { request, inner, queueLength, clock } = limited(0, 0)
    request(1_000)
    request(1_000, REFRESH)
    t.equal(queueLength(), 0)
    t.equal(inner.sent.length, 2_000)
    t.equal(clock.pending, 0)
  })
})

await t.test('the queue', async (t) => {
  await t.test('the queue keeps the order of its calls, counts them, and empties', async (t) => {
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

  await t.test('a call queues for at most UPSTREAM_QUEUE_TIMEOUT, or is denied at once', async (t) => {
    for (const [asksAfterMs, queueTimeoutMs, state] of [
      [0, 1_001, 'pending'],
      [0, 1_000, 'pending'],
      [0, 999, 'TooManyRequests'],
      [600, 401, 'pending'],
      [600, 400, 'pending'],
      [600, 399, 'TooManyRequests'],
    ] as const) {
      const { request, clock } = limited(1, queueTimeoutMs)
      request(1)
      await clock.advance(asksAfterMs)
      const [second] = request(1)
      await settled()
      t.equal(second?.state, state, `${queueTimeoutMs} ms, ${asksAfterMs} ms after the first`)
    }
  })

  await t.test('a wait that is computed as longer by a rounding error is not denied', async (t) => {
    const { request, clock, queueLength } = limited(5, 1_000)
    await clock.advance(47_700 + 3 / 7)
    const now = clock.now()
    t.ok(now + 1_020 - now > 1_020, 'this clock rounds up')
    request(10)
    t.equal(queueLength(), 5)
  })

  await t.test('a denied call takes no token and has a Retry-After of at least one second', async (t) => {
    const { request, source, clock } = limited(1, 2_500)
    request(3)
    const denied = await ended(source('a', CALLER))
    t.equal(denied.state, 'TooManyRequests')
    t.equal(denied.error?.status, 429)
    t.equal(denied.error?.retryAfterMs, 3 * 1_020)
    for (let i = 0; i < 100; i++) await ended(source('a', CALLER))
    await clock.advance(1_020)
    const next = watch(source('b', CALLER))
    await settled()
    t.equal(next.state, 'pending', 'the denied calls took no token')
    const soon = limited(1, 0)
    soon.request(1)
    await soon.clock.advance(900)
    t.equal((await ended(soon.source('a', CALLER))).error?.retryAfterMs, 1_000)
  })

  await t.test('a call that fails keeps its error and has used its token', async (t) => {
    const { source, inner, clock } = limited(1, 0)
    const error = failure('server_error')
    inner.always = failing(() => error)
    t.equal((await ended(source('a', CALLER))).error, error)
    t.equal((await ended(source('a', CALLER))).state, 'TooManyRequests')
    await clock.advance(1_020)
    t.equal((await ended(source('a', CALLER))).error, error)
  })
})

await t.test('calls of low priority', async (t) => {
  await t.test('a call of low priority never queues', async (t) => {
    const { request, source, queueLength } = limited(2, 60_000)
    request(2)
    t.equal((await ended(source('a', REFRESH))).state, 'TooManyRequests')
    t.equal(queueLength(), 0)
  })

  await t.test('calls of low priority leave a quarter of the tokens to the others', async (t) => {
    for (const [perSecond, forRefreshes] of [
      [1, 1],
      [3, 3],
      [4, 3],
      [5, 4],
      [8, 6],
      [50, 38],
    ] as const) {
      const { request, inner } = limited(perSecond, 0)
      request(perSecond + 10, REFRESH)
      await settled()
      t.equal(inner.sent.length, forRefreshes, `${perSecond} a second: refreshes`)
      request(perSecond + 10)
      await settled()
      t.equal(inner.sent.length, perSecond, `${perSecond} a second: all`)
    }
  })
})

/** For a second timers fire late, as they do while the event loop is busy. */
function busy(perSecond: number) {
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
function gaps(times: readonly number[], tokens: number): number[] {
  return times.slice(tokens).map((time, i) => time - (times[i] as number))
}

await t.test('calls that a busy process sends late', async (t) => {
  await t.test('a call in the queue waits a second after a call that was sent late', async (t) => {
    const { clock, source, times, queueLength } = busy(2)
    for (let i = 0; i < 8; i++) watch(source(`${i}`, CALLER))
    await clock.advance(10_000)
    t.equal(times().length, 8)
    t.equal(queueLength(), 0)
    t.ok(
      gaps(times(), 2).every((gap) => gap >= 1_000),
      times().join(', '),
    )
  })

  await t.test('a call that comes later waits a second after a call that was sent late', async (t) => {
    const { clock, source, times } = busy(2)
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

await t.test('the arrival of a call at upstream', async (t) => {
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
    t.equal(inner.sent.length, 4, 'no call is delayed for ever')
    return inner.sent.slice(0, 3).map(({ at }) => at - startedAt)
  }

  await t.test('a call has arrived at the latest when it is answered', async (t) => {
    t.strictSame(await sentBy(0), [0, 1_020, 2_040])
    t.strictSame(await sentBy(60), [0, 1_080, 2_160])
  })

  await t.test('a call has arrived 100 ms after it was sent, however slow upstream is', async (t) => {
    t.strictSame(await sentBy(100), [0, 1_120, 2_240])
    t.strictSame(await sentBy(3_000), [0, 1_120, 2_240])
  })

  await t.test('a late answer does not delay the next call with the same token again', async (t) => {
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
      'the answer of the first call has no effect',
    )
    await clock.advance(1)
    watch(source('e', REFRESH))
    t.equal(inner.last.id, 'e')
  })
})

await t.test('every call without a token is reported', async (t) => {
  const { request, heldBack } = limited(2, 0)
  request(5)
  await settled()
  t.strictSame(heldBack, ['rate', 'rate', 'rate'])
})
