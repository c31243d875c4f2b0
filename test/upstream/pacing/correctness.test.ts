import t from 'tap'
import type { StationChanges } from '../../../src/upstream/pacing/correctness.ts'
import { Correctness } from '../../../src/upstream/pacing/correctness.ts'
import { RollingMean } from '../../../src/upstream/pacing/rolling-mean.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** The same numbers in every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Stations of two kinds, called for at random gaps; an answer differs with share × (1 − e^(−gap / memory)). */
function observe({
  shares,
  memoryMs,
  calls,
}: {
  shares: readonly number[]
  memoryMs: number
  calls: number
}) {
  const random = randomNumbers(1)
  const correctness = new Correctness()
  const stations: StationChanges[] = shares.map(() => ({ differing1024ths: 0 }))
  for (let i = 0; i < calls; i++) {
    const station = i % shares.length
    const gapMs = random() * 2 * HOUR
    const differs = random() < (shares[station] as number) * (1 - Math.exp(-gapMs / memoryMs))
    stations[station] = correctness.compared(stations[station] as StationChanges, {
      differs,
      gapMs,
      served: 3,
    })
  }
  return { correctness, stations }
}

await t.test('the estimate of correct answers', async (t) => {
  await t.test('is 1 for the answer of a call, and falls with the age', async (t) => {
    const correctness = new Correctness()
    const station = { differing1024ths: 0 }
    const [now, soon, late] = [0, 10 * MINUTE, 10 * HOUR].map((age) => correctness.probability(station, age))
    t.equal(now, 1)
    t.ok(Number(soon) < 1 && Number(late) < Number(soon), `${soon}, ${late}`)
  })

  await t.test('learns from calls how often answers of that age differ', async (t) => {
    const { correctness, stations } = observe({ shares: [0.5, 0.5], memoryMs: 40 * MINUTE, calls: 4_000 })
    const ages = [5 * MINUTE, 30 * MINUTE, 2 * HOUR]
    const errors = ages.map(
      (age) =>
        correctness.probability(stations[0] as StationChanges, age) -
        (1 - 0.5 * (1 - Math.exp(-age / (40 * MINUTE)))),
    )
    t.ok(
      errors.every((error) => Math.abs(error) < 0.1),
      `off by ${errors.join(', ')}`,
    )
  })

  await t.test('knows stations apart', async (t) => {
    const { correctness, stations } = observe({ shares: [0.9, 0.05], memoryMs: 20 * MINUTE, calls: 2_000 })
    const [busy, quiet] = stations.map((station) => correctness.probability(station, HOUR))
    t.ok(Number(busy) < 0.35 && Number(quiet) > 0.7, `${busy} and ${quiet}`)
  })

  await t.test('is a mean over the answers of the last five minutes', async (t) => {
    const correctness = new Correctness()
    const station = { differing1024ths: 0 }
    const none = correctness.ratio(0)
    correctness.served(station, 96 * HOUR, 0)
    correctness.served(station, 0, 1_000)
    const both = correctness.ratio(2_000)
    t.strictSame([none, both, correctness.ratio(6 * MINUTE)], [null, (1 + 1 - 0.7) / 2, null])
  })

  await t.test('is higher for an answer of a day than for one of half a day', async (t) => {
    const correctness = new Correctness()
    const station = { differing1024ths: 0 }
    const [half, whole] = [12, 24].map((hours) => correctness.probability(station, hours * HOUR))
    t.strictSame(
      [half, whole].map((p = 0) => Number(p.toFixed(3))),
      [0.216, 0.3],
    )
  })

  await t.test('ignores a comparison of two answers of the same moment', async (t) => {
    const station = { differing1024ths: 5 }
    t.equal(new Correctness().compared(station, { differs: true, gapMs: 0, served: 1 }), station)
  })

  await t.test('stays between 0 and 1 whatever is observed', async () => {
    const correctness = new Correctness()
    const random = randomNumbers(2)
    let station: StationChanges = { differing1024ths: 0 }
    for (let i = 0; i < 20_000; i++) {
      const gapMs = 10 ** (random() * 9)
      station = correctness.compared(station, {
        differs: random() < 0.5,
        gapMs,
        served: Math.floor(random() * 1e6),
      })
      const probability = correctness.probability(station, 10 ** (random() * 9))
      if (!(probability >= 0 && probability <= 1)) throw new Error(`${probability} after ${i}`)
      if (!Number.isInteger(station.differing1024ths)) throw new Error('not a small integer')
    }
  })
})

await t.test('a rolling mean', async (t) => {
  await t.test('forgets values after five minutes, slot by slot', async (t) => {
    const mean = new RollingMean()
    mean.record(1, 0)
    mean.record(3, 4 * MINUTE)
    const means = [4 * MINUTE, 6 * MINUTE, 10 * MINUTE].map((now) => mean.mean(now))
    t.strictSame(means, [2, 3, null])
  })

  await t.test('takes a value of an earlier time for one of now', async (t) => {
    const mean = new RollingMean()
    mean.record(1, 10 * MINUTE)
    mean.record(3, 0)
    t.equal(mean.mean(10 * MINUTE), 2)
  })
})
