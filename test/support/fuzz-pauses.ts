import * as fc from 'fast-check'
import { RateLimit } from '../../src/upstream/policies/rate-limit.ts'
import type { Source } from '../../src/source.ts'
import { SendGate } from '../../src/upstream/state/send-gate.ts'
import type { TokenStore } from '../../src/upstream/state/shared-token-bucket.ts'
import { SharedTokenBucket } from '../../src/upstream/state/shared-token-bucket.ts'
import type { TokenBucketOptions } from '../../src/upstream/state/token-bucket.ts'
import { bucketFor, bucketForShare, LocalTokenBucket } from '../../src/upstream/state/token-bucket.ts'
import { answering, CALLER, REFRESH, ScriptedSource, watch } from '../upstream/doubles.ts'
import { settled, TestClock } from './clock.ts'

/* Pauses of the process, a shared store that is cut off, forgets and lies, and bursts of calls: for tests and the fuzzer. */

/** The tokens of a store that can be cut off, forgets them without a notice, and lies. */
class TokenStoreDouble implements TokenStore {
  isCut = false
  isLying = false
  readonly outage = null
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

export function maxWithinASecond(times: readonly number[]): number {
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

interface Pauses {
  readonly perSecond: number
  readonly queueTimeoutMs: number
  /** How long charging a call takes. */
  readonly chargeMs: number
  readonly share: number
  readonly acts: readonly (
    | { readonly do: 'burst'; readonly calls: number; readonly low: boolean }
    | { readonly do: 'pass' | 'stall'; readonly ms: number }
    | { readonly do: 'cut' | 'join' | 'forget' | 'lie' }
  )[]
}

export const anyPauses: fc.Arbitrary<Pauses> = fc.record({
  perSecond: fc.constantFrom(1, 2, 5, 20),
  queueTimeoutMs: fc.constantFrom(0, 1_000, 10_000),
  chargeMs: fc.constantFrom(0, 1, 90),
  share: fc.constantFrom(1, 1 / 3, 1 / 10),
  acts: fc.array(fc.oneof(burst, burst, pass, stall, flap), { maxLength: 30 }),
})

/** @throws Error if a second has more calls than the limit, or a call queues for ever */
export async function checkPauses(pauses: Pauses): Promise<void> {
  const { perSecond, queueTimeoutMs, chargeMs, share, acts } = pauses
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  inner.always = answering
  const store = new TokenStoreDouble(clock)
  const own = bucketForShare(perSecond, share, () => 0.5)
  const createLocal = () => new LocalTokenBucket(own, clock)
  const all = bucketFor(perSecond)
  const tokens = new SharedTokenBucket(all, { store, clock, createLocal })
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
    if (act.do === 'burst') for (let i = 0; i < act.calls; i++) watch(source('a', act.low ? REFRESH : CALLER))
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
}
