import t from 'tap'
import { withPolicies } from '../../src/upstream/policies.ts'
import type { TokenStore } from '../../src/upstream/state/shared-token-bucket.ts'
import type { QuotaStore, QuotaUpdate } from '../../src/upstream/state/quota-store.ts'
import { periodAt } from '../../src/upstream/state/quota-period.ts'
import { SharedQuota } from '../../src/upstream/state/shared-quota.ts'
import type { SharedCoolDown } from '../../src/upstream/state/cool-down-state.ts'
import type { CoolDownStore } from '../../src/upstream/state/shared-cool-down.ts'
import { settled, TestClock } from '../support/clock.ts'
import { answering, CALLER, ended, failing, failure, REFRESH, ScriptedSource, watch } from './doubles.ts'
import { broadcast } from '../support/broadcast.ts'

/*
 * While replicas share state in a store, each replica keeps its own state up to date beside it: whenever the store
 * cannot be reached, the replica continues from there.
 */

/** A token store that grants every token at once, until it is cut off. */
function tokenStore() {
  const store = { isCut: false, outage: null, taken: 0, processes: 1 }
  const take: TokenStore['take'] = async () => {
    if (store.isCut) return null
    store.taken++
    return { waitMs: 0 }
  }
  return Object.assign(store, { take })
}

/** One cool-down for every key. */
class CoolDownStoreDouble implements CoolDownStore {
  current: SharedCoolDown | null = null
  isCut = false
  probes = 0
  cleared = 0

  async get(): Promise<SharedCoolDown | null> {
    return this.isCut ? null : this.current
  }

  set(_key: string, coolDown: SharedCoolDown): void {
    if (!this.isCut) this.current = coolDown
  }

  clear(): void {
    this.cleared++
    this.current = null
  }

  /** Another replica's probe is never in flight. */
  async tryAcquireProbe(): Promise<boolean> {
    return true
  }

  releaseProbe(): void {
    this.probes++
  }
}

function replica({ perSecond = 0, share = 1 } = {}) {
  const clock = new TestClock()
  const inner = new ScriptedSource(clock.now)
  const [tokens, coolDowns] = [tokenStore(), new CoolDownStoreDouble()]
  const circuits: string[] = []
  const stack = withPolicies(
    { perSecond, queueTimeoutMs: 0, timeoutMs: 3_000, share },
    {
      source: inner.source,
      quota: null,
      apiKey: () => 'key',
      clock,
      observer: broadcast([{ circuitChanged: (state) => void circuits.push(state) }]),
      random: () => 0,
      stores: { tokens, coolDowns },
    },
  )
  const end = async (how: () => unknown) => {
    inner.always = failing(how)
    const call = watch(stack.source('a', CALLER))
    await clock.advance(20)
    return call
  }
  return { ...stack, clock, inner, tokens, coolDowns, circuits, end }
}

await t.test('the local token bucket follows the calls that the store granted', async (t) => {
  const { source, clock, inner, tokens } = replica({ perSecond: 4 })
  inner.always = answering
  for (let i = 0; i < 3; i++) await ended(source('a', CALLER))
  tokens.isCut = true
  const states = []
  for (let i = 0; i < 3; i++) states.push((await ended(source('a', CALLER))).state)
  t.strictSame(states, ['ok', 'TooManyRequests', 'TooManyRequests'], 'three of four tokens were taken before')
  await clock.advance(1_020)
  t.equal((await ended(source('a', REFRESH))).state, 'ok')
  t.equal(tokens.taken, 3)
})

await t.test('a replica sends what the store granted, up to the limit, whatever its share', async (t) => {
  const { source, inner } = replica({ perSecond: 4, share: 0.25 })
  inner.always = answering
  const states = []
  for (let i = 0; i < 6; i++) states.push((await ended(source('a', CALLER))).state)
  t.strictSame(states, ['ok', 'ok', 'ok', 'ok', 'pending', 'pending'])
})

await t.test('a replica without its token store keeps to its share of the limit', async (t) => {
  const { source, inner, tokens, clock } = replica({ perSecond: 4, share: 0.5 })
  inner.always = answering
  tokens.isCut = true
  const states: string[] = []
  const call = async () => void states.push((await ended(source('a', CALLER))).state)
  await call()
  await clock.advance(1_019)
  await call()
  await clock.advance(1)
  for (let i = 0; i < 4; i++) await call()
  const rejected = 'TooManyRequests'
  t.strictSame(
    states,
    [rejected, 'pending', 'ok', rejected, rejected, rejected],
    'not before the calls of others are a second old',
  )
})

await t.test(
  'a replica without its token store keeps to its part of all processes that used it',
  async (t) => {
    const sentBy = async (processes: number, share: number) => {
      const { source, inner, tokens, clock } = replica({ perSecond: 4, share })
      tokens.processes = processes
      inner.always = answering
      await ended(source('a', CALLER))
      await clock.advance(1_020)
      tokens.isCut = true
      // A replica with a part of the limit pauses before it sends alone.
      if (processes > 1 || share < 1) await ended(source('a', CALLER))
      await clock.advance(1_020)
      const states = []
      for (let i = 0; i < 6; i++) states.push((await ended(source('a', CALLER))).state)
      return states.filter((state) => state === 'ok').length
    }
    t.equal(await sentBy(1, 1), 4)
    t.equal(await sentBy(2, 1), 2)
    t.equal(await sentBy(3, 1), 1, 'rounded down')
    t.equal(await sentBy(2, 0.25), 1, 'a smaller share is kept')
    t.equal(await sentBy(1, 0.5), 2)
  },
)

await t.test('a part that becomes smaller or larger begins without a token', async (t) => {
  const { source, inner, tokens, clock } = replica({ perSecond: 4 })
  inner.always = answering
  for (let i = 0; i < 2; i++) await ended(source('a', CALLER))
  tokens.processes = 2
  tokens.isCut = true
  t.equal((await ended(source('a', CALLER))).state, 'TooManyRequests', 'it may have sent its part just now')
  await clock.advance(1_020)
  t.equal((await ended(source('a', CALLER))).state, 'ok')
})

await t.test('a cool-down that a peer published holds on after the store is lost', async (t) => {
  const { source, inner, coolDowns, clock } = replica()
  inner.always = answering
  coolDowns.current = { code: 'UpstreamRefused', status: 403, diagnosis: 'why', times: 1, waitMs: 5_000 }
  t.equal((await ended(source('a', CALLER))).state, 'UpstreamRefused')
  coolDowns.isCut = true
  await clock.advance(4_999)
  t.match((await ended(source('a', CALLER))).error, { code: 'UpstreamRefused', retryAfterMs: 1 })
  await clock.advance(1)
  t.equal((await ended(source('a', CALLER))).state, 'ok')
  t.equal(inner.sent.length, 1)
})

await t.test('a cool-down is published, and cleared once upstream accepts the key', async (t) => {
  const { source, inner, coolDowns, clock, end } = replica()
  await end(() => failure('refused'))
  t.match(coolDowns.current, { code: 'UpstreamRefused', status: 403, times: 1, waitMs: 5_000 })
  coolDowns.current = null
  await clock.advance(5_000)
  inner.always = answering
  t.equal((await ended(source('a', CALLER))).state, 'ok')
  t.equal(coolDowns.cleared, 1)
  t.equal(coolDowns.probes, 1)
})

await t.test('a rejection by upstream reaches the circuit breaker as an error that it ignores', async (t) => {
  const { source, clock, circuits, circuit, end } = replica()
  for (let i = 0; i < 10; i++) {
    const { error } = await end(() => failure(i % 2 === 0 ? 'throttled' : 'refused', { retryAfterMs: 1_000 }))
    t.equal(error?.name, 'ServiceError', 'not an UpstreamError')
    await clock.advance(1_000)
  }
  t.equal(circuit(), 'closed')
  t.strictSame(circuits, [])
  void source
})

/** The quota of one replica in memory, by the rules of the port alone: what is unreported counts once. */
class QuotaStoreDouble implements QuotaStore {
  isUp = true
  spent = 0
  readonly updates: QuotaUpdate[] = []
  #counted = 0

  async apply(update: QuotaUpdate) {
    this.updates.push(update)
    this.spent += update.unreported.calls - this.#counted
    this.#counted = update.unreported.calls
    if (update.change.kind === 'acquire') this.spent++
    const nowMs = new TestClock().wall()
    const { spent } = this
    const usage = { period: periodAt(nowMs, update.per), nowMs, spent, released: 10 }
    return { ...usage, account: 'a', charged: spent, waitMs: 0, holdMs: 0, clientCalls: null }
  }
}

await t.test(
  'what a store had counted before this replica saw it excludes the call of the first reply',
  async (t) => {
    const store = new QuotaStoreDouble()
    store.spent = 7
    const quota = new SharedQuota({ limit: 30, per: 'day' }, { store, clock: new TestClock(), share: 1 })
    const before = quota.spentBefore
    await quota.acquire(false, false)
    const first = quota.spentBefore
    await quota.acquire(false, false)
    t.strictSame([before, first, quota.spentBefore, quota.spent], [0, 7, 7, 9])
  },
)

await t.test(
  'calls that a replica spent without the quota store are reported until they count',
  async (t) => {
    const clock = new TestClock()
    const store = new QuotaStoreDouble()
    const quota = new SharedQuota({ limit: 30, per: 'day' }, { store, clock, share: 0.5 })
    for (let i = 0; i < 10; i++) await quota.acquire(false, false)
    store.isUp = false
    let alone = 0
    while ((await quota.acquire(false, false)) === 0) alone++
    t.equal(alone, 10, 'half of the 20 calls that were left')
    t.equal(quota.remaining, 0)
    quota.refund(quota.period)
    store.isUp = true
    await quota.acquire(false, false)
    await quota.acquire(false, false)
    t.strictSame(
      store.updates
        .slice(10)
        .map(({ unreported, lastSeen }) => [unreported.calls, unreported.reported, lastSeen?.spent]),
      [
        [9, 0, 10],
        [9, 9, 20],
      ],
    )
    t.equal(quota.spent, 21)
    await settled()
  },
)

await t.test(
  'a replica that cannot count spends no more than its part of what was left for all',
  async (t) => {
    const spentAlone: number[] = []
    for (const [processes, share] of [
      [4, 1],
      [4, 0.1],
      [1, 1],
    ] as const) {
      const store = new QuotaStoreDouble()
      const apply: QuotaStore['apply'] = async (update) => ({ ...(await store.apply(update)), processes })
      const counting = { apply, isUp: true }
      const clock = new TestClock()
      const quota = new SharedQuota({ limit: 30, per: 'day' }, { store: counting, clock, share })
      for (let i = 0; i < 10; i++) await quota.acquire(false, false)
      t.equal(quota.remaining, 20)
      counting.isUp = false
      let alone = 0
      while ((await quota.acquire(false, false)) === 0) alone++
      spentAlone.push(alone)
    }
    t.strictSame(spentAlone, [5, 2, 20])
  },
)
