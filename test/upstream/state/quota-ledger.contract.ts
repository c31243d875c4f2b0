import type { Test } from 'tap'
import type { QuotaLedger } from '../../../src/upstream/state/quota-ledger.ts'

/** Ledgers of replicas that share a monthly quota; the local implementation has one. */
export interface QuotaHarness {
  readonly ledgers: readonly QuotaLedger[]
  /** Waits until all ledgers show the same usage. */
  readonly sync: () => Promise<void>
}

const MAX_MONTH_MS = 31 * 86_400_000

/** What every implementation of QuotaLedger promises. */
export async function quotaContract(
  t: Test,
  create: (t: Test, limit: number) => Promise<QuotaHarness>,
): Promise<void> {
  const setup = async (t: Test, limit: number) => {
    const { ledgers, sync } = await create(t, limit)
    /** Acquires up to `most` calls, from each replica in turn. */
    const acquire = async (most: number, { hasStale = false, rationed = false } = {}) => {
      let acquired = 0
      for (let i = 0; i < most; i++) {
        const ledger = ledgers[i % ledgers.length] as QuotaLedger
        if ((await ledger.acquire(hasStale, rationed)) === 0) acquired++
      }
      return acquired
    }
    const usage = () => ledgers.map(({ spent, remaining }) => [spent, remaining])
    const all = <T>(value: T) => ledgers.map(() => value)
    return { ledgers, first: ledgers[0] as QuotaLedger, acquire, sync, usage, all }
  }

  await t.test('a quota is spent to its last call, and never exceeded', async (t) => {
    const { acquire, first, sync, usage, all } = await setup(t, 30)
    t.equal(await acquire(40), 30)
    const waitMs = await first.acquire(false, false)
    t.ok(waitMs > 0 && waitMs <= MAX_MONTH_MS, `${waitMs} ms until the next period`)
    await sync()
    t.strictSame(usage(), all([30, 0]))
  })

  await t.test('a refunded call can be acquired again', async (t) => {
    const { acquire, first, sync, usage, all } = await setup(t, 3)
    await acquire(3)
    first.refund(first.period)
    await sync()
    t.strictSame(usage(), all([2, 1]))
    t.equal(await acquire(3), 1)
  })

  await t.test('a refund for another period changes nothing', async (t) => {
    const { acquire, first, sync, usage, all } = await setup(t, 3)
    await acquire(2)
    first.refund('2000-01/month')
    await sync()
    t.strictSame(usage(), all([2, 1]))
  })

  await t.test('a client spends its share of the quota and no more, and others the rest', async (t) => {
    const { ledgers, first, sync, usage, all } = await setup(t, 12)
    const acquireFor = async (id: string, most: number) => {
      let acquired = 0
      for (let i = 0; i < most; i++) {
        const ledger = ledgers[i % ledgers.length] as QuotaLedger
        if ((await ledger.acquire(false, false, { id, limit: 4 })) === 0) acquired++
      }
      return acquired
    }
    t.equal(await acquireFor('a', 10), 4)
    t.equal(first.callsOf('a'), 4)
    t.equal(await acquireFor('b', 3), 3)
    first.refund(first.period, 'a')
    await sync()
    t.equal(await acquireFor('a', 10), 1, 'a refunded call is also returned to the client')
    await sync()
    t.strictSame(usage(), all([7, 5]))
  })

  await t.test('a client that catches up is not rationed, by the count of all ledgers', async (t) => {
    const { ledgers, first, acquire } = await setup(t, 400)
    const behind = { id: 'b', limit: 200, part: 1 / 4 }
    t.equal(await acquire(160), 160, 'more than is released')
    let caughtUp = 0
    for (let i = 0; i < 90; i++) {
      const ledger = ledgers[i % ledgers.length] as QuotaLedger
      if ((await ledger.acquire(false, true, behind)) === 0) caughtUp++
    }
    t.equal(caughtUp, 53, 'a quarter of 213')
    t.ok((await first.acquire(false, true, { id: 'c', limit: 200 })) > 0, 'one without a part is')
  })

  await t.test('rationed calls leave a reserve to stations without a stale answer', async (t) => {
    const { acquire, first } = await setup(t, 4_000)
    // A twentieth, 200 calls, is released at once; a fiftieth of what remains is the reserve.
    t.equal(await acquire(200, { hasStale: true, rationed: true }), 122)
    const withStaleMs = await first.acquire(true, true)
    t.equal(await acquire(100, { rationed: true }), 78)
    const waitMs = await first.acquire(false, true)
    t.ok(waitMs > 0 && waitMs <= MAX_MONTH_MS, `${waitMs} ms until a call is released`)
    t.ok(withStaleMs > 0)
    t.equal(await first.acquire(false, false), 0, 'calls that are not rationed can still be spent')
  })
}
