import t from 'tap'
import { periodAt } from '../../../src/upstream/state/quota-period.ts'
import type { QuotaReply, QuotaStore, QuotaUpdate } from '../../../src/upstream/state/quota-store.ts'
import { SharedQuota } from '../../../src/upstream/state/shared-quota.ts'
import { settled, TestClock } from '../../support/clock.ts'

/* The rules of a quota are tested in quota-ledger.contract.ts; here, what a replica knows while replies are under way. */

const LIMIT = 30

/** A store of one replica that replies when the test says so. */
class SlowStore implements QuotaStore {
  isUp = true
  spent = 0
  readonly #replies: (() => void)[] = []
  #counted = 0

  apply({ per, change, unreported }: QuotaUpdate): Promise<QuotaReply> {
    this.spent += unreported.calls - this.#counted + (change.kind === 'acquire' ? 1 : 0)
    this.#counted = unreported.calls
    const { spent } = this
    const nowMs = new TestClock().wall()
    const usage = { period: periodAt(nowMs, per), nowMs, spent, released: LIMIT - spent }
    const reply = { ...usage, account: 'a', charged: spent, waitMs: 0, holdMs: 0, clientCalls: null }
    return new Promise((resolve) => void this.#replies.push(() => resolve(reply)))
  }

  async reply(): Promise<void> {
    for (const send of this.#replies.splice(0)) send()
    await settled()
  }
}

function setup() {
  const store = new SlowStore()
  const quota = new SharedQuota({ limit: LIMIT, per: 'day' }, { store, clock: new TestClock(), share: 1 })
  const acquire = async () => {
    const acquiring = quota.acquire(false, false)
    await store.reply()
    return acquiring
  }
  const usage = () => [quota.spent, quota.remaining]
  return { store, quota, acquire, usage }
}

await t.test(
  'calls spent without the store are in the usage before the store has counted them',
  async (t) => {
    const { store, quota, acquire, usage } = setup()
    await acquire()
    store.isUp = false
    await acquire()
    await acquire()
    const alone = usage()
    store.isUp = true
    const back = usage()
    const oneLeft = quota.waitMs({ hasStale: false, rationed: false, client: null }, LIMIT - 4)
    const noneLeft = quota.waitMs({ hasStale: false, rationed: false, client: null }, LIMIT - 3)
    await acquire()
    t.strictSame(
      [alone, back, usage()],
      [
        [3, 27],
        [3, 27],
        [4, 26],
      ],
    )
    t.equal(oneLeft, 0)
    t.ok(noneLeft > 0)
  },
)

await t.test('a reply that is older than calls spent without the store does not hide them', async (t) => {
  const { store, quota, acquire, usage } = setup()
  await acquire()
  const late = quota.acquire(false, false)
  store.isUp = false
  await quota.acquire(false, false)
  await quota.acquire(false, false)
  await store.reply()
  await late
  t.strictSame(usage(), [4, 26])
  store.isUp = true
  t.strictSame(usage(), [4, 26])
  await acquire()
  t.strictSame(usage(), [5, 25], 'and counts them once')
  t.equal(store.spent, 5)
})
