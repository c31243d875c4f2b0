import t from 'tap'
import { RejectedIds } from '../../../src/upstream/policies/rejected-ids.ts'
import { TestClock } from '../../support/clock.ts'

await t.test(
  'an id is asked for again a minute after its first rejection, however often it was rejected',
  async (t) => {
    const clock = new TestClock()
    const rejected = new RejectedIds(clock)
    const before = rejected.isAskedAgain('a')
    rejected.add('a')
    await clock.advance(59_999)
    rejected.add('a')
    const early = rejected.isAskedAgain('a')
    await clock.advance(1)
    t.strictSame([before, early, rejected.isAskedAgain('a')], [false, false, true])
  },
)

await t.test('of more than 10,000 ids the one rejected longest ago is forgotten', async (t) => {
  const clock = new TestClock()
  const rejected = new RejectedIds(clock)
  for (let i = 0; i < 10_001; i++) rejected.add(String(i))
  await clock.advance(60_000)
  t.strictSame(
    ['0', '1', '10000'].map((id) => rejected.isAskedAgain(id)),
    [false, true, true],
  )
})
