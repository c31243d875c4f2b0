import type { Test } from 'tap'
import type { QuotaStore } from '../../../src/upstream/state/quota-store.ts'
import { SharedQuota } from '../../../src/upstream/state/shared-quota.ts'

/** An empty store of quotas, whose clock is set. */
export interface SettableStore {
  /** The access of one more replica. */
  readonly open: () => QuotaStore
  readonly setClock: (wallMs: number) => void
}

const LIMIT = 2_500

/** Replicas on a store of their own, whose clock shows what a test sets. */
async function replicasOn(create: () => Promise<SettableStore>, count = 1) {
  const { open, setClock } = await create()
  let elapsedMs = 0
  const after = (_ms: number, callback: () => void) => {
    setImmediate(callback)
    return () => {}
  }
  const clock = { now: () => elapsedMs, wall: () => 0, after }
  const replicas = Array.from({ length: count }, () => {
    const store = open()
    const link = { isUp: true, apply: store.apply.bind(store) }
    const ledger = new SharedQuota({ limit: LIMIT, per: 'month' }, { store: link, clock, share: 1 })
    const sync = () => ledger.acquire(false, false, { id: 'nobody', limit: 0 })
    return { link, ledger, sync, call: async () => void (await ledger.acquire(false, false)) }
  })
  const show = (date: string) => {
    elapsedMs += 10
    setClock(Date.parse(date))
  }
  return { replicas, show }
}

/** What counts after a store's clock has shown right and wrong dates. */
export async function clockHistoryContract(t: Test, create: () => Promise<SettableStore>): Promise<void> {
  /** One call is made at each date, one after the other. */
  const spentAfter = async (dates: readonly string[]) => {
    const { replicas, show } = await replicasOn(create)
    const [replica] = replicas as [(typeof replicas)[0]]
    for (const date of dates) {
      show(date)
      await replica.call()
    }
    return replica.ledger.spent
  }
  const spentAfterEach = async (cases: readonly (readonly string[])[]) => {
    const spent = []
    for (const dates of cases) spent.push(await spentAfter(dates))
    return spent
  }

  await t.test('a clock that was behind for a while loses no call of the period', async (t) => {
    const cases = [
      ['2026-11-28', '1970-01-01', '2026-11-29'],
      ['2026-11-28', '2024-05-01', '1970-01-01', '2026-11-29'],
      ['2026-11-28', '2028-11-29', '2026-11-29', '1970-01-01', '2026-11-29'],
      ['2026-11-28', '2026-12-01', '1970-01-01', '2026-11-29'],
      ['2026-11-28', '2026-11-28', '2026-12-01', '2024-05-01', '1970-01-01', '2026-11-29'],
    ]
    t.strictSame(await spentAfterEach(cases), [3, 4, 5, 3, 5])
  })

  await t.test('a clock that was ahead or behind for a while freezes no later period', async (t) => {
    const cases = [
      ['2028-11-29', '2026-11-29', '2026-12-01'],
      ['2028-11-29', '2026-11-29', '2026-12-01', '2028-11-29'],
      ['2026-11-28', '1970-01-01', '2026-12-01'],
      ['2026-11-28', '1970-01-01', '2026-11-29', '2026-12-01'],
    ]
    t.strictSame(await spentAfterEach(cases), [1, 1, 1, 1])
  })

  const [LAST, NEXT] = ['2026-11-30T23:59:59Z', '2026-12-01T00:00:00Z']

  await t.test(
    'a clock that goes back over a reset for a second charges nothing of one period to the next',
    async (t) => {
      const before = Array.from({ length: 50 }, () => '2026-11-28')
      const cases = [
        [...before, NEXT, LAST],
        [...before, NEXT, LAST, NEXT],
        [...before, NEXT, LAST, NEXT, LAST],
      ]
      t.strictSame(await spentAfterEach(cases), [52, 3, 56])
    },
  )

  await t.test('no call is charged twice if a replica has seen the earlier period only', async (t) => {
    const spentWith = async (ahead: string, back: string) => {
      const { replicas, show } = await replicasOn(create, 2)
      const [one, other] = replicas as [(typeof replicas)[0], (typeof replicas)[0]]
      show('2026-11-28')
      for (let i = 0; i < 25; i++) for (const { call } of replicas) await call()
      show(ahead)
      await one.call()
      show(back)
      await other.sync()
      const inEarlier = other.ledger.spent
      show(ahead)
      await one.sync()
      return [inEarlier, one.ledger.spent]
    }
    t.strictSame(await spentWith(NEXT, LAST), [51, 1])
    t.strictSame(await spentWith('2028-11-29', '2026-11-29'), [51, 1])
  })

  await t.test('calls without the store are counted, whatever its clock showed then', async (t) => {
    const { replicas, show } = await replicasOn(create)
    const [{ link, ledger, call, sync }] = replicas as [(typeof replicas)[0]]
    const callAlone = async (times: number) => {
      await sync()
      link.isUp = false
      for (let i = 0; i < times; i++) await call()
      link.isUp = true
      await sync()
      return ledger.spent
    }
    show('2026-11-28')
    const spent = [await callAlone(5)]
    show('1970-01-01')
    spent.push(await callAlone(1))
    show('2026-11-29')
    spent.push(await callAlone(2))
    t.strictSame(spent, [5, 6, 8])
  })

  await t.test('a clock that goes back and forth for ever leaves an account of bounded size', async (t) => {
    const years = Array.from({ length: 300 }, (_, i) => `${2_400 - i}-11-29`)
    t.equal(await spentAfter([...years, '2026-11-29', '2026-12-01']), 1)
  })
}
