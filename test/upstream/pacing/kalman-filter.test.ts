import t from 'tap'
import { KalmanFilter } from '../../../src/upstream/pacing/kalman-filter.ts'

const PARAMETERS = [
  { initial: 0, deviation: 1, min: -5, max: 5 },
  { initial: 1, deviation: 0.5, min: 0, max: 2 },
]

await t.test('one observation moves a parameter by its part of the uncertainty', async (t) => {
  const filter = new KalmanFilter(PARAMETERS)
  filter.update({ slopes: [1, 0], error: 0.4, variance: 1 })
  t.strictSame(filter.means, [0.2, 1], 'half: it is as uncertain as the observation')
})

await t.test('many observations of a line give its intercept and slope', async (t) => {
  const filter = new KalmanFilter(PARAMETERS)
  for (let i = 0; i < 3_000; i++) {
    const x = (i % 5) - 2
    const [intercept = 0, slope = 0] = filter.means
    filter.update({ slopes: [1, x], error: -0.6 + 0.3 * x - (intercept + slope * x), variance: 0.1 })
  }
  t.strictSame(
    filter.means.map((mean) => Number(mean.toFixed(2))),
    [-0.6, 0.3],
  )
})

await t.test('a parameter never leaves its bounds, nor moves by more than a half at once', async (t) => {
  const filter = new KalmanFilter(PARAMETERS)
  filter.update({ slopes: [1, 0], error: 100, variance: 1e-6 })
  const once = filter.means
  for (let i = 0; i < 100; i++) filter.update({ slopes: [1, 1], error: 100, variance: 1e-6 })
  t.strictSame(
    [once, filter.means],
    [
      [0.5, 1],
      [5, 2],
    ],
  )
})

await t.test('a filter continues with what another one has learned', async (t) => {
  const [one, other] = [new KalmanFilter(PARAMETERS), new KalmanFilter(PARAMETERS)]
  one.update({ slopes: [1, 0.5], error: 0.3, variance: 0.2 })
  t.ok(other.restore(one.learned()))
  t.strictSame(other.learned(), one.learned())
})

await t.test('a filter refuses what no filter can have learned', async (t) => {
  const filter = new KalmanFilter(PARAMETERS)
  const before = filter.learned()
  const refused = [
    [],
    [0, 1],
    [6, 1, 1, 0, 0, 0.25], // a mean out of its bounds
    [0, 1, 0, 0, 0, 0.25], // a parameter without uncertainty
    [0, 1, 1.01, 0, 0, 0.25], // more of it than before anything is known
    [0, 1, 1, 0.6, 0.6, 0.25], // parameters that depend on each other more than they vary
    [0, 1, 1, Number.NaN, 0, 0.25],
  ].map((learned) => filter.restore(learned))
  t.strictSame([refused, filter.learned()], [refused.map(() => false), before])
})
