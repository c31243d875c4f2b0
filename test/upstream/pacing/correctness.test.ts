import t from 'tap'
import type { StationChanges } from '../../../src/upstream/pacing/correctness.ts'
import { Correctness } from '../../../src/upstream/pacing/correctness.ts'
import { RollingMean } from '../../../src/upstream/pacing/rolling-mean.ts'
import { TestClock } from '../../support/clock.ts'

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

/** A clock, and an estimate that follows it. */
function setup() {
  const clock = new TestClock()
  return { clock, correctness: new Correctness(clock) }
}

const UNKNOWN: StationChanges = { served: 0, evidence: 0 }

/** Stations, called for at random gaps in turn; an answer differs with share × (1 − e^(−gap / memory)). */
function observe({ shares, calls }: { shares: readonly number[]; calls: number }) {
  const random = randomNumbers(1)
  const { correctness } = setup()
  const evidence = shares.map(() => 0)
  for (let i = 0; i < calls; i++) {
    const station = i % shares.length
    const gapMs = random() * 2 * HOUR
    const differs = random() < (shares[station] as number) * (1 - Math.exp(-gapMs / (40 * MINUTE)))
    const before = { served: 3, evidence: evidence[station] as number }
    evidence[station] = correctness.compared(before, { differs, gapMs })
  }
  return { correctness, stations: evidence.map((one) => ({ served: 3, evidence: one })) }
}

await t.test('the estimate of correct answers', async (t) => {
  await t.test('is 1 for the answer of a call, and falls with the age', async (t) => {
    const { correctness } = setup()
    const [now, soon, late] = [0, 10 * MINUTE, 10 * HOUR].map((age) => correctness.probability(UNKNOWN, age))
    t.equal(now, 1)
    t.ok(Number(soon) < 1 && Number(late) < Number(soon), `${soon}, ${late}`)
  })

  await t.test('learns from calls how often answers of that age differ', async (t) => {
    const { correctness, stations } = observe({ shares: [0.5, 0.5], calls: 4_000 })
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
    const { correctness, stations } = observe({ shares: [0.9, 0.05], calls: 2_000 })
    const [busy, quiet] = stations.map((station) => correctness.probability(station, HOUR))
    t.ok(Number(busy) < 0.35 && Number(quiet) > 0.7, `${busy} and ${quiet}`)
  })

  await t.test('learns from calls at which hours answers of a day before differ', async (t) => {
    const random = randomNumbers(3)
    const { clock, correctness } = setup()
    for (let day = 0; day < 60; day++) {
      for (const [hour, share] of [
        [2, 0.15],
        [14, 0.7],
      ] as const) {
        clock.setWall(Date.UTC(2026, 2, 1 + day, hour))
        for (let i = 0; i < 20; i++)
          correctness.compared(UNKNOWN, { differs: random() < share, gapMs: 24 * HOUR })
      }
    }
    const probability = correctness.probability(UNKNOWN, 24 * HOUR)
    clock.setWall(clock.wall() + 12 * HOUR)
    const byNight = correctness.probability(UNKNOWN, 24 * HOUR)
    t.ok(Math.abs(probability - 0.3) < 0.07, `by day ${probability}`)
    t.ok(Math.abs(byNight - 0.85) < 0.07, `by night ${byNight}`)
  })

  await t.test('is a mean over the answers of the last five minutes', async (t) => {
    const { clock, correctness } = setup()
    const none = correctness.ratio()
    correctness.served(UNKNOWN, 96 * HOUR)
    await clock.advance(1_000)
    correctness.served(UNKNOWN, 0)
    const expected = (1 + correctness.probability(UNKNOWN, 96 * HOUR)) / 2
    const both = correctness.ratio()
    await clock.advance(6 * MINUTE)
    t.strictSame([none, both, correctness.ratio()], [null, expected, null])
  })

  await t.test('takes twenty answers in a tenth of a second, and leaves out the others', async (t) => {
    const { clock, correctness } = setup()
    for (let i = 0; i < 20; i++) correctness.served(UNKNOWN, 0)
    for (let i = 0; i < 1_000; i++) correctness.served(UNKNOWN, 96 * HOUR)
    const first = correctness.ratio()
    await clock.advance(100)
    for (let i = 0; i < 20; i++) correctness.served(UNKNOWN, 96 * HOUR)
    const expected = (20 + 20 * correctness.probability(UNKNOWN, 96 * HOUR)) / 40
    t.equal(first, 1)
    t.equal(correctness.ratio()?.toFixed(9), expected.toFixed(9))
  })

  await t.test('ignores a comparison of two answers of the same moment', async (t) => {
    const { correctness } = setup()
    t.equal(correctness.compared({ served: 1, evidence: 5 }, { differs: true, gapMs: 0 }), 5)
  })

  await t.test('stays between 0 and 1 whatever is observed', async () => {
    const { clock, correctness } = setup()
    const random = randomNumbers(2)
    let evidence = 0
    for (let i = 0; i < 5_000; i++) {
      clock.setWall(Math.floor(random() * 1e12))
      const served = Math.floor(random() * 1e6)
      evidence = correctness.compared(
        { served, evidence },
        { differs: random() < 0.5, gapMs: 10 ** (random() * 9) },
      )
      const probability = correctness.probability({ served, evidence }, 10 ** (random() * 9))
      if (!(probability >= 0 && probability <= 1)) throw new Error(`${probability} after ${i}`)
      if (!Number.isInteger(evidence) || evidence < 0) throw new Error(`${evidence} is no small integer`)
    }
  })

  await t.test('continues with what an earlier process has learned, and with nothing else', async (t) => {
    const { correctness } = observe({ shares: [0.9], calls: 100 })
    const [same, other] = [setup().correctness, setup().correctness]
    same.restore(correctness.learned())
    const before = other.learned()
    for (const wrong of [[], [0.7, 7, 100, 50, 3], correctness.learned().map(() => 0)]) other.restore(wrong)
    t.strictSame([same.learned(), other.learned()], [correctness.learned(), before])
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
