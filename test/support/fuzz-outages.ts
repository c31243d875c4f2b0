import * as fc from 'fast-check'
import type { Source } from '../../src/source.ts'
import { RateLimit } from '../../src/upstream/policies/rate-limit.ts'
import { SendGate } from '../../src/upstream/state/send-gate.ts'
import type { SentCall } from '../../src/upstream/state/sent-call.ts'
import type { SharedToken, StoreOutage, TokenStore } from '../../src/upstream/state/shared-token-bucket.ts'
import { SharedTokenBucket } from '../../src/upstream/state/shared-token-bucket.ts'
import type { TokenBucketOptions } from '../../src/upstream/state/token-bucket.ts'
import { bucketFor, bucketForShare, LocalTokenBucket } from '../../src/upstream/state/token-bucket.ts'
import { answering, CALLER, ScriptedSource, watch } from '../upstream/doubles.ts'
import { settled, TestClock } from './clock.ts'
import { maxWithinASecond } from './fuzz-pauses.ts'

/* Replicas that share their tokens, and a store that all of them lose and find again, each at a time of its own. */

const REPLICAS = 3
/** How long a command waits for its reply. */
const DEADLINE_MS = 100
/** Between the probes of a store that could not be reached. */
const PROBES_MS = [1_000, 2_000, 4_000, 5_000]

/** The tokens, and what was really sent. */
class Server {
  isDown = false
  readonly clock: TestClock
  #used: number[] = []
  #sent: number[] = []

  constructor(clock: TestClock) {
    this.clock = clock
  }

  take({ count, tokenReuseMs }: TokenBucketOptions, leave: number, maxWaitMs: number): number {
    const now = this.clock.now()
    const at = this.#used.at(leave - count) ?? Number.NEGATIVE_INFINITY
    const waitMs = Math.max(0, at + tokenReuseMs - now)
    if (waitMs <= maxWaitMs) this.#used.push(now + waitMs)
    return waitMs
  }

  /** The ms until a call may be sent; at 0 this one counts as sent. */
  pass({ count, tokenReuseMs }: TokenBucketOptions): number {
    const now = this.clock.now()
    const at = this.#sent.at(-count) ?? Number.NEGATIVE_INFINITY
    const waitMs = Math.max(0, at + tokenReuseMs - now)
    if (waitMs === 0) this.#sent.push(now)
    return waitMs
  }
}

/** The access of one replica, behind its circuit breaker. */
class Access implements TokenStore {
  readonly #server: Server
  outage: StoreOutage | null = null

  constructor(server: Server) {
    this.#server = server
  }

  async take(bucket: TokenBucketOptions, leave: number, maxWaitMs: number): Promise<SharedToken | null> {
    if (!(await this.#reaches())) return null
    const waitMs = this.#server.take(bucket, leave, maxWaitMs)
    return { waitMs }
  }

  async pass(bucket: TokenBucketOptions): Promise<SentCall | null> {
    for (;;) {
      if (!(await this.#reaches())) return null
      const waitMs = this.#server.pass(bucket)
      if (waitMs === 0) return { arrived: () => {} }
      await this.#pause(waitMs)
    }
  }

  async #reaches(): Promise<boolean> {
    if (this.outage?.until === null) return false
    if (!this.#server.isDown) return true
    await this.#pause(DEADLINE_MS)
    if (this.outage?.until !== null) this.#open(this.#server.clock.now())
    return false
  }

  #open(since: number, probe = 0): void {
    this.outage = { since, until: null }
    this.#server.clock.after(PROBES_MS[Math.min(probe, PROBES_MS.length - 1)] as number, () => {
      if (this.#server.isDown) this.#open(since, probe + 1)
      else this.outage = { since, until: this.#server.clock.now() }
    })
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#server.clock.after(ms, resolve))
  }
}

function replicaOn(server: Server, perSecond: number, upstream: Source): Source {
  const { clock } = server
  const own = bucketForShare(perSecond, 1 / REPLICAS, () => 0.5)
  const all = bucketFor(perSecond)
  const createLocal = () => new LocalTokenBucket(own, clock)
  const tokens = new SharedTokenBucket(all, { store: new Access(server), clock, createLocal })
  const deps = {
    limit: { tokens, gate: new SendGate(all.count, clock) },
    clock,
    observer: { upstreamHeldBack() {} },
  }
  const limit = new RateLimit({ queueTimeoutMs: 3_000 }, deps)
  return limit.policy(limit.send(upstream))
}

const burst = fc.record({
  do: fc.constant('burst' as const),
  replica: fc.integer({ min: 0, max: REPLICAS - 1 }),
  calls: fc.integer({ min: 1, max: 30 }),
})
const passes = (min: number, max: number) =>
  fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min, max }) })
/** Longer than a replica needs to notice, and all have calls, so that none takes the store for reachable. */
const outage = fc.record({ do: fc.constant('outage' as const), ms: fc.integer({ min: 200, max: 12_000 }) })

interface Outages {
  readonly perSecond: number
  readonly acts: readonly (
    | { readonly do: 'burst'; readonly replica: number; readonly calls: number }
    | { readonly do: 'pass' | 'outage'; readonly ms: number }
  )[]
}

export const anyOutages: fc.Arbitrary<Outages> = fc.record({
  perSecond: fc.constantFrom(3, 5, 20),
  acts: fc.array(fc.oneof({ weight: 5, arbitrary: burst }, passes(0, 1_500), passes(5_000, 9_000), outage), {
    maxLength: 25,
  }),
})

/** @throws Error if a second has more calls than the limit */
export async function checkOutages({ perSecond, acts }: Outages): Promise<void> {
  const clock = new TestClock()
  const upstream = new ScriptedSource(clock.now)
  upstream.always = answering
  const server = new Server(clock)
  const replicas = Array.from({ length: REPLICAS }, () => replicaOn(server, perSecond, upstream.source))
  const call = async (replica: number, calls: number) => {
    for (let i = 0; i < calls; i++) watch((replicas[replica] as Source)('a', CALLER))
    await settled()
  }
  for (const act of acts) {
    if (act.do === 'burst') await call(act.replica, act.calls)
    else if (act.do === 'pass') await clock.advance(act.ms)
    else {
      server.isDown = true
      for (let replica = 0; replica < REPLICAS; replica++) await call(replica, 1)
      await clock.advance(act.ms)
      server.isDown = false
    }
  }
  await clock.advance(60_000)
  const most = maxWithinASecond(upstream.sent.map(({ at }) => at))
  if (most > perSecond) throw new Error(`${most} calls in a second of ${perSecond}`)
}
