import t from 'tap'
import { backoffMs } from '../../src/lib/backoff.ts'

await t.test('a back-off doubles with each failure in a row, up to its maximum', async (t) => {
  t.strictSame(
    [1, 2, 3, 4, 5, 2_000].map((failures) => backoffMs(1_000, 5_000, failures)),
    [1_000, 2_000, 4_000, 5_000, 5_000, 5_000],
  )
})
