import type { Test } from 'tap'

/**
 * What counts in the account of a store after a clock has shown these dates, one after the other. One call is spent at
 * each, of a quota of 1,000 a month.
 */
export type SpentAfter = (dates: readonly string[]) => Promise<number>

export async function clockHistoryContract(t: Test, spentAfter: SpentAfter): Promise<void> {
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
    ]
    t.strictSame(await spentAfterEach(cases), [3, 4, 5])
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

  await t.test(
    'a clock that goes back over a reset for a second charges nothing of one period to the next',
    async (t) => {
      const [last, next] = ['2026-11-30T23:59:59Z', '2026-12-01T00:00:00Z']
      const before = Array.from({ length: 500 }, () => '2026-11-28')
      const cases = [
        [...before, next, last],
        [...before, next, last, next],
        [...before, next, last, next, last],
      ]
      t.strictSame(await spentAfterEach(cases), [502, 3, 506])
    },
  )

  await t.test('a clock that goes back and forth for ever leaves an account of bounded size', async (t) => {
    const years = Array.from({ length: 300 }, (_, i) => `${2_400 - i}-11-29`)
    t.equal(await spentAfter([...years, '2026-11-29', '2026-12-01']), 1)
  })
}
