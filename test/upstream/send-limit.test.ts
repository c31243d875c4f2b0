import * as fc from 'fast-check'
import t from 'tap'
import { RateLimit } from '../../src/upstream/policies/rate-limit.ts'
import type { Source } from '../../src/source.ts'
import { SendGate } from '../../src/upstream/state/send-gate.ts'
import type { TokenStore } from '../../src/upstream/state/shared-token-bucket.ts'
import { SharedTokenBucket } from '../../src/upstream/state/shared-token-bucket.ts'
import type { TokenBucketOptions } from '../../src/upstream/state/token-bucket.ts'
import { bucketFor, bucketForShare, LocalTokenBucket } from '../../src/upstream/state/token-bucket.ts'
import { settled, TestClock } from '../support/clock.ts'
import { answering, CALLER, REFRESH, ScriptedSource, watch } from './doubles.ts'

/* Limits are checked at the moment of sending: whatever happens, no second has more calls than the limit. */

/** The tokens of a store that can be cut off, forgets them without a notice, and lies. */
class TokenStoreDouble implements TokenStore {
  isCut = false
  isLying = false
  #used: number[] = []
  readonly #clock: TestClock

  constructor(clock: TestClock) {
    this.#clock = clock
  }

  async take({ count, tokenReuseMs }: TokenBucketOptions, leave: number, maxWaitMs: number) {
    await Promise.resolve()
    if (this.isCut) return null
    if (this.isLying) return { waitMs: 0 }
    const now = this.#clock.now()
    const at = this.#used.at(leave - count) ?? Number.NEGATIVE_INFINITY
    const waitMs = Math.max(0, at + tokenReuseMs - now)
    if (waitMs <= maxWaitMs) this.#used.push(now + waitMs)
    return { waitMs }
  }

  forget(): void {
    this.#used = []
  }
}

function maxWithinASecond(times: readonly number[]): number {
  return Math.max(
    0,
    ...times.map((from) => times.filter((time) => time >= from && time < from + 1_000).length),
  )
}

const burst = fc.record({
  do: fc.constant('burst' as const),
  calls: fc.integer({ min: 1, max: 30 }),
  low: fc.boolean(),
})
const pass = fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 1_500 }) })
const stall = fc.record({ do: fc.constant('stall' as const), ms: fc.integer({ min: 0, max: 15_000 }) })
const flap = fc.record({
  do: fc.constantFrom('cut' as const, 'join' as const, 'forget' as const, 'lie' as const),
})

await t.test('no second has more calls than the limit over pauses, flaps and bursts', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(1, 2, 5, 20),
      fc.constantFrom(0, 1_000, 10_000),
      fc.constantFrom(0, 1, 90),
      fc.constantFrom(1, 1 / 3, 1 / 10),
      fc.array(fc.oneof(burst, burst, pass, stall, flap), { maxLength: 30 }),
      async (perSecond, queueTimeoutMs, chargeMs, share, acts) => {
        const clock = new TestClock()
        const inner = new ScriptedSource(clock.now)
        inner.always = answering
        const store = new TokenStoreDouble(clock)
        const local = new LocalTokenBucket(
          bucketForShare(perSecond, share, () => 0.5),
          clock,
        )
        const all = bucketFor(perSecond)
        const tokens = new SharedTokenBucket(store, all, local, clock)
        const limit = new RateLimit(
          { queueTimeoutMs },
          {
            limit: { tokens, gate: new SendGate(all.count, clock) },
            clock,
            observer: { upstreamHeldBack: () => {} },
          },
        )
        /** As the quota, which may take some time. */
        const charge =
          (next: Source): Source =>
          async (id, options) => {
            if (chargeMs > 0) await new Promise<void>((resolve) => void clock.after(chargeMs, resolve))
            return next(id, options)
          }
        const source = limit.policy(charge(limit.send(inner.source)))
        for (const act of acts) {
          if (act.do === 'burst')
            for (let i = 0; i < act.calls; i++) watch(source('a', act.low ? REFRESH : CALLER))
          else if (act.do === 'pass') await clock.advance(act.ms)
          else if (act.do === 'stall') clock.stall(act.ms)
          else if (act.do === 'forget') store.forget()
          else {
            store.isCut = act.do === 'cut'
            store.isLying = act.do === 'lie'
          }
          await settled()
        }
        await clock.advance(60_000)
        const most = maxWithinASecond(inner.sent.map(({ at }) => at))
        if (most > perSecond) throw new Error(`${most} calls in a second`)
        if (limit.queued !== 0) throw new Error('a call queues for ever')
      },
    ),
    { numRuns: 300 },
  )
})

await t.test('after a pause of the process queued calls are sent at the limit', async (t) => {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  inner.always = answering
  const bucket = bucketFor(5)
  const limit = new RateLimit(
    { queueTimeoutMs: 12_000 },
    {
      limit: { tokens: new LocalTokenBucket(bucket, clock), gate: new SendGate(bucket.count, clock) },
      clock,
      observer: { upstreamHeldBack: () => {} },
    },
  )
  const source = limit.policy(limit.send(inner.source))
  for (let i = 0; i < 50; i++) watch(source('a', CALLER))
  await settled()
  clock.stall(12_000)
  await clock.advance(0)
  t.equal(inner.sent.length, 10, 'five before and five after the pause')
  await clock.advance(1_019)
  t.equal(inner.sent.length, 10)
  await clock.advance(1)
  t.equal(inner.sent.length, 15)
  await clock.advance(20_000)
  t.equal(inner.sent.length, 50)
})

await t.test('the shares of replicas never exceed the limit together', async (t) => {
  const rates = [
    [5, 3],
    [5, 10],
    [7, 2],
    [1, 4],
    [50, 7],
  ] as const
  const tokens = rates.map(([perSecond, replicas]) => {
    const { count, tokenReuseMs } = bucketForShare(perSecond, 1 / replicas, () => 0)
    return (count * replicas * 1_000) / tokenReuseMs <= perSecond
  })
  t.strictSame(
    tokens,
    rates.map(() => true),
  )
})

await t.test('replicas with less than one call per second send at moments of their own', async (t) => {
  const clock = new TestClock()
  const times: number[] = []
  for (let i = 0; i < 10; i++) {
    const bucket = bucketForShare(5, 1 / 10, () => i / 10)
    t.equal(bucket.tokenReuseMs, 8_000)
    const local = new LocalTokenBucket(bucket, clock)
    for (let call = 0; call < 3; call++) {
      const token = local.take({ lowPriority: false, maxWaitMs: 60_000 })
      times.push(token.waitMs)
    }
  }
  t.ok(maxWithinASecond(times) <= 2, times.join(', '))
})

await t.test(
  'a call with a token of the store is sent when the store lets it pass, and its arrival is reported',
  async (t) => {
    const clock = new TestClock()
    const inner = new ScriptedSource(clock.now)
    inner.always = answering
    let arrivals = 0
    const pass = async () => {
      await new Promise<void>((resolve) => void clock.after(300, resolve))
      return { arrived: () => void arrivals++ }
    }
    const bucket = bucketFor(5)
    const tokens = new SharedTokenBucket(
      { take: async () => ({ waitMs: 0, pass }) },
      bucket,
      new LocalTokenBucket(bucket, clock),
      clock,
    )
    const limit = new RateLimit(
      { queueTimeoutMs: 1_000 },
      { limit: { tokens, gate: new SendGate(5, clock) }, clock, observer: { upstreamHeldBack: () => {} } },
    )
    watch(limit.policy(limit.send(inner.source))('a', CALLER))
    await clock.advance(299)
    t.strictSame([inner.sent.length, limit.queued], [0, 1])
    await clock.advance(1)
    t.strictSame([inner.sent.length, limit.queued], [1, 0])
    await clock.advance(100)
    t.equal(arrivals, 1)
  },
)
