import t from 'tap'
import { changeWeight } from '../../src/lib/change-weight.ts'

await t.test('the weight of something that changes', async (t) => {
  const mean = 1 / 3_600

  await t.test('is the square root of its rate of change over the mean rate', async (t) => {
    t.equal(changeWeight({ changes: 39, observed: 9 * 3_600 }, mean), 2)
    t.equal(changeWeight({ changes: 9, observed: 39 * 3_600 }, mean), 0.5)
  })

  await t.test('is 1 before anything is known, and never outside 1/4 to 4', async (t) => {
    const weights = [
      changeWeight({ changes: 0, observed: 0 }, mean),
      changeWeight({ changes: 100, observed: 60 }, mean),
      changeWeight({ changes: 0, observed: 1e8 }, mean),
    ]
    t.strictSame(weights, [1, 4, 0.25])
  })
})
