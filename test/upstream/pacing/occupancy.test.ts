import t from 'tap'
import type { Comparison, OccupancyByHour } from '../../../src/upstream/pacing/occupancy.ts'
import { chanceOfSame, scaledBesselI0, turnoverOf } from '../../../src/upstream/pacing/occupancy.ts'

const HOUR = 3_600_000
const NOON = Date.UTC(2026, 0, 15, 12)
const FLAT = { logStayS: Math.log(3_600), cosine: 0, sine: 0 }
/** e^0.7 times the mean load at noon, and e^−0.7 times at midnight. */
const DAILY = { ...FLAT, cosine: -0.7 }

const chance = (load: number, hours: OccupancyByHour, comparison: Comparison) =>
  chanceOfSame(load, turnoverOf(hours, comparison))

function poisson(mean: number, count: number): number {
  let probability = Math.exp(-mean)
  for (let i = 1; i <= count; i++) probability *= mean / i
  return probability
}

/** The chance that two independent Poisson numbers are equal, as a sum over the numbers. */
function chanceOfEqual(one: number, other: number): number {
  return Array.from({ length: 60 }, (_, count) => poisson(one, count) * poisson(other, count)).reduce(
    (sum, chance) => sum + chance,
  )
}

await t.test('the chance of the same answer is that of equal numbers of cars that left and came', (t) => {
  const staying = Math.exp(-2)
  const cases = [0.1, 1, 6].flatMap((load) => [
    [
      chance(load, FLAT, { ageMs: 2 * HOUR, atMs: NOON }),
      chanceOfEqual((load / 2) * (1 - staying), (load / 2) * (1 - staying)) ** 2,
    ],
    [
      chance(load, DAILY, { ageMs: 2 * HOUR, atMs: NOON }),
      chanceOfEqual(
        (load / 2) * Math.exp(0.7 * Math.cos(Math.PI / 6)) * (1 - staying),
        (load / 2) * (Math.exp(0.7) - Math.exp(0.7 * Math.cos(Math.PI / 6)) * staying),
      ) ** 2,
    ],
  ])
  const errors = cases.map(([one = 0, other = 0]) => Math.abs(one - other))
  t.ok(
    errors.every((error) => error < 1e-6),
    errors.join(', '),
  )
  t.end()
})

await t.test('an answer of the same moment is the same, also after a clock that was set back', (t) => {
  t.strictSame(
    [0, -HOUR].map((ageMs) => chance(3, DAILY, { ageMs, atMs: NOON })),
    [1, 1],
  )
  t.end()
})

await t.test('an answer of the night is less often the same at noon than one of the noon before', (t) => {
  const [night = 1, noon = 0] = [12, 24].map((hours) => chance(2, DAILY, { ageMs: hours * HOUR, atMs: NOON }))
  t.ok(night < noon * 0.9, `${night} and ${noon}`)
  t.end()
})

await t.test('fewer cars than left meanwhile are not negative arrivals', (t) => {
  const evening = chance(2, { ...DAILY, cosine: -1.5 }, { ageMs: HOUR, atMs: NOON + 10 * HOUR })
  t.ok(evening > 0 && evening < 1, `${evening}`)
  t.end()
})

/** e^(−x) I₀(x) as a power series. */
function besselBySeries(x: number): number {
  let [term, sum] = [1, 1]
  for (let k = 1; k < 200; k++) {
    term *= (x / 2 / k) ** 2
    sum += term
  }
  return Math.exp(-x) * sum
}

await t.test('the scaled Bessel function is that of its series, on both sides of its split', (t) => {
  const errors = [0, 1, 3.74, 3.76, 5, 10, 30].map((x) => Math.abs(scaledBesselI0(x) - besselBySeries(x)))
  t.ok(
    errors.every((error) => error < 1e-6),
    errors.join(', '),
  )
  t.end()
})
