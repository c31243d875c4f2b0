import t from 'tap'
import { LocalQuota } from '../../../src/upstream/state/quota-ledger.ts'
import { QuotaLedgers } from '../../../src/upstream/state/quota-ledgers.ts'
import { clockAt } from '../../support/fuzz-clocks.ts'
import { acquire, quotaKindsContract } from './quota-ledgers.contract.ts'

const HOUR = 3_600_000
const NOON = Date.UTC(2026, 0, 15, 12)

function setup() {
  const clock = clockAt(NOON)
  const ledgers = new QuotaLedgers((quota) => new LocalQuota(quota, clock))
  return { clock, ledgers }
}

await t.test('quotas in memory fulfil the contract', async (t) => {
  await quotaKindsContract(t, async () => setup().ledgers)
})

await t.test('a day that ends while a quota per month is in force begins a new count', async (t) => {
  const { clock, ledgers } = setup()
  await acquire(ledgers, ledgers.use({ limit: 20, per: 'day' }), 5)
  const month = ledgers.use({ limit: 30, per: 'month' })
  await acquire(ledgers, month, 2)
  clock.ms += 13 * HOUR
  await acquire(ledgers, month, 3)
  t.equal(ledgers.use({ limit: 20, per: 'day' }).spent, 3)
  t.equal(month.spent, 5)
})

await t.test('a refund counts in the others, except one that may be of the period before', async (t) => {
  const { clock, ledgers } = setup()
  const day = ledgers.use({ limit: 20, per: 'day' })
  const month = ledgers.use({ limit: 30, per: 'month' })
  await acquire(ledgers, month, 2)
  clock.ms += HOUR
  ledgers.countInOthers(month, -1)
  t.equal(day.spent, 1)
  clock.ms += 11 * HOUR
  await acquire(ledgers, month, 1)
  clock.ms += 59_999
  ledgers.countInOthers(month, -1)
  t.equal(day.spent, 1, 'within a minute of the begin')
  clock.ms += 1
  ledgers.countInOthers(month, -1)
  t.equal(day.spent, 0)
  ledgers.countInOthers(month, -1)
  t.equal(day.spent, 0, 'never negative')
})

await t.test('a call that another ledger was charged counts over the limit, too', async (t) => {
  const { ledgers } = setup()
  const day = ledgers.use({ limit: 1, per: 'day' })
  const month = ledgers.use({ limit: 30, per: 'month' })
  await acquire(ledgers, month, 3)
  t.strictSame([day.spent, day.remaining], [3, 0])
  day.changeLimit(5)
  t.equal(day.remaining, 2)
})
