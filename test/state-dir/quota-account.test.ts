import t from 'tap'
import type { Account, AccountContext } from '../../src/state-dir/quota-account.ts'
import {
  beginAccount,
  followPeriod,
  parseAccount,
  release,
  spentOf,
} from '../../src/state-dir/quota-account.ts'
import { periodAt } from '../../src/upstream/state/quota-period.ts'

const LIMIT = 1_000

function contextAt(date: string): AccountContext {
  const now = Date.parse(date)
  return { now, period: periodAt(now, 'month'), limit: LIMIT, replica: 'a' }
}

/** An account as the store keeps it, after a clock has shown these dates; one call is charged at each. */
function accountAfter(dates: readonly string[]): Account {
  const [first = '', ...others] = dates
  let account = beginAccount(contextAt(first))
  account.charged++
  for (const date of others) {
    const parsed = parseAccount(JSON.parse(JSON.stringify(account)))
    if (parsed === null) throw new Error('the account cannot be read')
    account = followPeriod(parsed, contextAt(date))
    release(account, contextAt(date))
    account.charged++
  }
  return account
}

await t.test('a clock that was behind for a while loses no call of the period', (t) => {
  const cases = [
    ['2026-11-28', '1970-01-01', '2026-11-29'],
    ['2026-11-28', '2024-05-01', '1970-01-01', '2026-11-29'],
    ['2026-11-28', '2028-11-29', '2026-11-29', '1970-01-01', '2026-11-29'],
  ]
  t.strictSame(
    cases.map((dates) => spentOf(accountAfter(dates))),
    [3, 4, 5],
  )
  t.end()
})

await t.test('a clock that was ahead or behind for a while freezes no later period', (t) => {
  const cases = [
    ['2028-11-29', '2026-11-29', '2026-12-01'],
    ['2028-11-29', '2026-11-29', '2026-12-01', '2028-11-29'],
    ['2026-11-28', '1970-01-01', '2026-12-01'],
    ['2026-11-28', '1970-01-01', '2026-11-29', '2026-12-01'],
  ]
  t.strictSame(
    cases.map((dates) => spentOf(accountAfter(dates))),
    [1, 1, 1, 1],
  )
  t.end()
})

await t.test(
  'a clock that goes back over a reset for a second charges nothing of one period to the next',
  (t) => {
    const [last, next] = ['2026-11-30T23:59:59Z', '2026-12-01T00:00:00Z']
    const before = Array.from({ length: 500 }, () => '2026-11-28')
    const cases = [
      [...before, next, last],
      [...before, next, last, next],
      [...before, next, last, next, last],
    ]
    t.strictSame(
      cases.map((dates) => spentOf(accountAfter(dates))),
      [502, 3, 506],
    )
    t.end()
  },
)

await t.test('a clock that was behind for a while releases nothing of the years between', (t) => {
  const before = accountAfter(['2026-11-28'])
  const { released } = accountAfter(['2026-11-28', '1970-01-31T23:59:59Z', '2026-11-28'])
  t.ok(released >= before.released && released < before.released + 10, `${released} of ${LIMIT}`)
  t.end()
})
