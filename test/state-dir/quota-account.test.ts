import t from 'tap'
import type { Account, AccountContext } from '../../src/state-dir/quota-account.ts'
import {
  acquire,
  beginAccount,
  followPeriod,
  parseAccount,
  release,
} from '../../src/state-dir/quota-account.ts'
import { RECOVERY_MS } from '../../src/upstream/state/shared-quota.ts'
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

await t.test('a clock that was behind for a while releases nothing of the years between', (t) => {
  const before = accountAfter(['2026-11-28'])
  const { released } = accountAfter(['2026-11-28', '1970-01-31T23:59:59Z', '2026-11-28'])
  t.ok(released >= before.released && released < before.released + 10, `${released} of ${LIMIT}`)
  t.end()
})

await t.test('a hold that began while the clock was ahead holds no call', (t) => {
  const context = contextAt('2026-11-29')
  const waitsFor = (holdMs: number) =>
    acquire({ ...beginAccount(context), hold: context.now + holdMs }, context, null, false)
  t.strictSame(waitsFor(RECOVERY_MS), { waitMs: RECOVERY_MS, holdMs: RECOVERY_MS })
  t.strictSame(waitsFor(RECOVERY_MS + 1), { waitMs: 0, holdMs: 0 })
  t.end()
})
