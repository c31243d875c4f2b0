import * as fc from 'fast-check'
import t from 'tap'
import type { RedisConfig } from '../../src/config/redis-url.ts'
import { redisUrl } from '../../src/config/redis-url.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { Commands } from '../../src/redis/commands.ts'
import { RedisQuotaStore } from '../../src/redis/quota-store.ts'
import type { QuotaReply, QuotaStore, QuotaUpdate } from '../../src/upstream/state/quota-store.ts'
import { SharedQuota } from '../../src/upstream/state/shared-quota.ts'
import { NO_REDIS, RedisServer } from '../support/redis.ts'
import { keepAlive, sleep } from './replicas.ts'

/*
 * Three replicas on a Redis that is cut off, loses its account, or returns with an earlier one: once all have reported,
 * no call is missing in the count.
 */

keepAlive(t)

const LIMIT = 10_000
const KEY = 'evproxy:quota:1:{month}'
const REPLICAS = [0, 1, 2] as const

const of = <T extends string>(act: T) =>
  fc.record({ act: fc.constant(act), replica: fc.constantFrom(...REPLICAS) })
const calls = fc.record({
  act: fc.constant('calls' as const),
  replica: fc.constantFrom(...REPLICAS),
  count: fc.integer({ min: 1, max: 12 }),
})
const anyAct = fc.oneof(
  { weight: 6, arbitrary: calls },
  { weight: 1, arbitrary: of('refund') },
  { weight: 2, arbitrary: of('sync') },
  { weight: 1, arbitrary: of('cut') },
  { weight: 2, arbitrary: of('join') },
  { weight: 1, arbitrary: of('lose reply') },
  { weight: 1, arbitrary: fc.constant({ act: 'save' as const }) },
  { weight: 1, arbitrary: fc.constant({ act: 'restore' as const }) },
  { weight: 1, arbitrary: fc.constant({ act: 'flush' as const }) },
)
type Act = typeof anyAct extends fc.Arbitrary<infer T> ? T : never
type ActOfReplica = Extract<Act, { readonly replica: number }>

/** A store whose connection can be cut, and whose next reply can be lost after the command was executed. */
class Link implements QuotaStore {
  isUp = true
  losesReply = false
  readonly #store: QuotaStore

  constructor(store: QuotaStore) {
    this.#store = store
  }

  async apply(update: QuotaUpdate): Promise<QuotaReply | null> {
    if (!this.isUp) return null
    const reply = await this.#store.apply(update)
    if (!this.losesReply) return reply
    this.losesReply = false
    return null
  }
}

class Model {
  readonly #commands: Commands
  readonly #links: readonly Link[]
  readonly #ledgers: readonly SharedQuota[]
  #saved: string[] = []
  /** Calls that were made and not refunded. */
  made = 0
  /**
   * Calls that may be counted once more. A command without a reply was executed: its own call is reported again, and so are
   * those that it has reported, if Redis then loses the account that another replica has seen.
   */
  doubtful = 0
  /** By replica, calls without the store of which no reply says that they were counted. */
  readonly #alone = new Map<SharedQuota, number>()

  constructor(commands: Commands) {
    this.#commands = commands
    this.#links = REPLICAS.map(() => new Link(new RedisQuotaStore(commands)))
    // Nobody waits until the others have reported: the test says when they have.
    const after = (_ms: number, callback: () => void) => {
      setImmediate(callback)
      return () => {}
    }
    const clock = { ...systemClock, after }
    this.#ledgers = this.#links.map(
      (store) => new SharedQuota({ limit: LIMIT, per: 'month' }, { store, clock, share: 1 / 3 }),
    )
  }

  async run(act: Act): Promise<void> {
    if (act.act === 'flush') await this.#lose()
    else if (act.act === 'save')
      this.#saved = Object.entries(
        (await this.#commands.command('hgetall', KEY)) as Record<string, string>,
      ).flat()
    else if (act.act === 'restore') await this.#restore()
    else await this.#runOn(act)
  }

  /** Two accounts do not begin within a millisecond. */
  async #lose(): Promise<void> {
    await this.#commands.command('del', KEY)
    await sleep(2)
  }

  async #restore(): Promise<void> {
    if (this.#saved.length === 0) return
    await this.#commands.command('del', KEY)
    await this.#commands.command('hset', KEY, ...this.#saved)
  }

  async #runOn(act: ActOfReplica): Promise<void> {
    const [ledger, link] = [this.#ledgers[act.replica], this.#links[act.replica]] as [SharedQuota, Link]
    if (act.act === 'cut') link.isUp = false
    else if (act.act === 'join') link.isUp = true
    else if (act.act === 'sync') await this.#sync(ledger)
    else if (act.act === 'refund') await this.#refund(ledger)
    else if (act.act === 'calls') await this.#call(ledger, act.count)
    else await this.#callWithoutReply(ledger, link)
  }

  /** A call of a client without a share asks the store, and is charged to nobody. */
  async #sync(ledger: SharedQuota): Promise<void> {
    await ledger.acquire(false, false, { id: 'nobody', limit: 0 })
    if (this.#linkOf(ledger).isUp) this.#alone.set(ledger, 0)
  }

  #linkOf(ledger: SharedQuota): Link {
    return this.#links[this.#ledgers.indexOf(ledger)] as Link
  }

  async #call(ledger: SharedQuota, count = 1): Promise<void> {
    for (let i = 0; i < count; i++) {
      const { isUp, losesReply } = this.#linkOf(ledger)
      const isCounted = isUp && !losesReply
      if ((await ledger.acquire(false, false)) === 0) {
        this.made++
        this.#alone.set(ledger, isCounted ? 0 : this.#aloneOf(ledger) + 1)
      } else await this.#reportAll()
    }
  }

  #aloneOf(ledger: SharedQuota): number {
    return this.#alone.get(ledger) ?? 0
  }

  async #callWithoutReply(ledger: SharedQuota, link: Link): Promise<void> {
    link.losesReply = link.isUp
    if (link.losesReply) this.doubtful += 1 + this.#aloneOf(ledger)
    await this.#call(ledger)
    link.losesReply = false
  }

  async #refund(ledger: SharedQuota): Promise<void> {
    if ((await ledger.acquire(false, false)) > 0) return
    ledger.refund(ledger.period)
    await this.#sync(ledger) // behind it on the same connection
  }

  /** All that are connected report, and then calls are made again. */
  async #reportAll(): Promise<void> {
    for (const ledger of this.#ledgers) await this.#sync(ledger)
    if ((await this.#commands.command('exists', KEY)) === 1)
      await this.#commands.command('hset', KEY, 'hold', '0')
  }

  /** The count once all are connected and have reported. */
  async count(): Promise<number> {
    for (const link of this.#links) link.isUp = true
    await this.#reportAll()
    await this.#reportAll()
    const counts = (await this.#commands.command('hmget', KEY, 'charged', 'refunded')) as string[]
    const [charged, refunded] = counts.map(Number) as [number, number]
    return charged - refunded
  }
}

/** Replica 1 has reported nothing since the account was saved, so it cannot see that it was restored. */
const UNSEEN_RESTORE: Act[] = [
  { act: 'calls', replica: 0, count: 3 },
  { act: 'calls', replica: 1, count: 1 },
  { act: 'save' },
  { act: 'calls', replica: 0, count: 5 },
  { act: 'restore' },
  { act: 'calls', replica: 1, count: 10 },
]

/** Replica 2 has seen what replica 0 has reported without a reply, and reports again. */
const REPORTED_TWICE: Act[] = [
  { act: 'cut', replica: 0 },
  { act: 'calls', replica: 0, count: 5 },
  { act: 'join', replica: 0 },
  { act: 'lose reply', replica: 0 },
  { act: 'sync', replica: 2 },
  { act: 'flush' },
]

await t.test('no call is missing in the count, whatever Redis loses', { skip: NO_REDIS }, async (t) => {
  const server = await RedisServer.start(t)
  const commands = await Commands.open(redisUrl.parse(server.url) as RedisConfig, {
    clock: { ...systemClock, after: (ms, callback) => systemClock.after(50 * ms, callback) }, // a busy machine ends no command
    observer: { sharedCacheChanged: () => {}, sharedCommandRejected: () => {} },
  })
  t.teardown(() => commands.close())
  const check = async (acts: readonly Act[]) => {
    await commands.command('del', KEY)
    const model = new Model(commands)
    for (const act of acts) await model.run(act)
    const count = await model.count()
    const { made, doubtful } = model
    const isRight = count >= made && count <= made + doubtful
    if (!isRight) throw new Error(`${made} calls, ${doubtful} doubtful: ${count} counted`)
  }
  const anyActs = fc.array(anyAct, { maxLength: 25 })
  await t.resolves(
    fc.assert(fc.asyncProperty(anyActs, check), {
      numRuns: 200,
      examples: [[UNSEEN_RESTORE], [REPORTED_TWICE]],
    }),
  )
})
