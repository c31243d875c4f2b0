import type { Test } from 'tap'
import type { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { QuotaLedgers } from '../../../src/upstream/state/quota-ledgers.ts'
import type { QuotaStore } from '../../../src/upstream/state/quota-store.ts'
import type { SharedQuota } from '../../../src/upstream/state/shared-quota.ts'
import { SharedQuota as Shared } from '../../../src/upstream/state/shared-quota.ts'
import type { Clock } from '../../../src/lib/clock.ts'
import { settled } from '../../support/clock.ts'
import { until } from '../../support/until.ts'

type Ledger = LocalQuota | SharedQuota

/** Acquires so many calls, as the policy does. */
export async function acquire(ledgers: QuotaLedgers<Ledger>, ledger: Ledger, calls: number): Promise<void> {
  for (let i = 0; i < calls; i++) {
    if ((await ledger.acquire(false, false)) === 0) ledgers.countInOthers(ledger, 1)
  }
}

/** What a change of the kind of period and back promises, whether or not a store is shared. */
export async function quotaKindsContract(
  t: Test,
  create: (t: Test) => Promise<QuotaLedgers<Ledger>>,
): Promise<void> {
  await t.test('a change of the kind begins a new count, and back it has forgotten none', async (t) => {
    const ledgers = await create(t)
    const day = ledgers.use({ limit: 20, per: 'day' })
    await acquire(ledgers, day, 3)
    const month = ledgers.use({ limit: 30, per: 'month' })
    await acquire(ledgers, month, 4)
    t.equal(month.spent, 4)
    t.equal(ledgers.use({ limit: 25, per: 'day' }), day)
    await acquire(ledgers, day, 1)
    t.strictSame([day.spent, day.remaining], [8, 17])
    const again = ledgers.use({ limit: 30, per: 'month' })
    await until('the month has the calls of the day', () => again.spent === 5)
    await acquire(ledgers, again, 1)
    t.strictSame([again.spent, again.remaining], [6, 24])
  })
}

/** The same for calls that are spent while the store cannot be reached. `create` opens it for two processes. */
export async function storedQuotaKindsContract(
  t: Test,
  create: (t: Test) => Promise<{ readonly stores: readonly [QuotaStore, QuotaStore]; readonly clock: Clock }>,
): Promise<void> {
  const setup = async (t: Test) => {
    const { stores, clock } = await create(t)
    const [store, other] = stores
    const link = {
      isCut: false,
      get isUp() {
        return !link.isCut && store.isUp
      },
      apply: async (update: Parameters<QuotaStore['apply']>[0]) => (link.isUp ? store.apply(update) : null),
    }
    const ledgers = new QuotaLedgers<Ledger>((quota) => new Shared(quota, { store: link, clock, share: 1 }))
    /** What another process reads in the store. */
    const stored = async (per: 'day' | 'month') => {
      const reader = new Shared({ limit: 100, per }, { store: other, clock, share: 1 })
      reader.start()
      await until('the usage is read', () => reader.account !== null)
      reader.stop()
      return reader.spent
    }
    return { ledgers, link, stored }
  }

  await quotaKindsContract(t, async (t) => (await setup(t)).ledgers)

  await t.test('calls that were reported are not refunded by a change of the kind and back', async (t) => {
    const { ledgers, link, stored } = await setup(t)
    const day = ledgers.use({ limit: 20, per: 'day' })
    await acquire(ledgers, day, 1)
    link.isCut = true
    await acquire(ledgers, day, 4)
    link.isCut = false
    await acquire(ledgers, day, 1)
    await acquire(ledgers, ledgers.use({ limit: 30, per: 'month' }), 1)
    await acquire(ledgers, ledgers.use({ limit: 20, per: 'day' }), 1)
    await settled()
    t.equal(await stored('day'), 8)
  })

  await t.test('calls that were not reported yet are, after a change of the kind', async (t) => {
    const { ledgers, link, stored } = await setup(t)
    const day = ledgers.use({ limit: 20, per: 'day' })
    await acquire(ledgers, day, 1)
    link.isCut = true
    await acquire(ledgers, day, 4)
    const month = ledgers.use({ limit: 30, per: 'month' })
    await acquire(ledgers, month, 2)
    link.isCut = false
    for (const ledger of ledgers.all()) (ledger as SharedQuota).start()
    await until('all are counted', async () => (await stored('day')) === 7 && (await stored('month')) === 2)
    for (const ledger of ledgers.all()) (ledger as SharedQuota).stop()
  })
}
