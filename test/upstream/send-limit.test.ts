import * as fc from 'fast-check'
import t from 'tap'
import { RateLimit } from '../../src/upstream/policies/rate-limit.ts'
import { SendGate } from '../../src/upstream/state/send-gate.ts'
import { SharedTokenBucket } from '../../src/upstream/state/shared-token-bucket.ts'
import { bucketFor, bucketForShare, LocalTokenBucket } from '../../src/upstream/state/token-bucket.ts'
import { settled, TestClock } from '../support/clock.ts'
import { anyOutages, checkOutages } from '../support/fuzz-outages.ts'
import { anyPauses, checkPauses, maxWithinASecond } from '../support/fuzz-pauses.ts'
import { answering, CALLER, ScriptedSource, watch } from './doubles.ts'

/* Limits are checked at the moment of sending: whatever happens, no second has more calls than the limit. */

await t.test('no second has more calls than the limit over pauses, flaps and bursts', async () => {
  await fc.assert(fc.asyncProperty(anyPauses, checkPauses), { numRuns: 300 })
})

await t.test(
  'no second has more calls than the limit while replicas lose a store and find it again',
  async () => {
    await fc.assert(fc.asyncProperty(anyOutages, checkOutages), { numRuns: 100 })
  },
)

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
    const store = { outage: null, take: async () => ({ waitMs: 0 }), pass }
    const createLocal = () => new LocalTokenBucket(bucket, clock)
    const tokens = new SharedTokenBucket(bucket, { store, clock, createLocal })
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
