import t from 'tap'
import { parseLearned } from '../../../src/upstream/pacing/learned-pacing.ts'
import { PacingMemory } from '../../../src/upstream/pacing/pacing-memory.ts'
import { Price } from '../../../src/upstream/pacing/price.ts'
import { StationPacing } from '../../../src/upstream/pacing/station-pacing.ts'
import { settled, TestClock } from '../../support/clock.ts'

const MINUTE = 60_000
const TTLS = { ttlMs: 30_000, maxTtlMs: 86_400_000 }

/** A process with a store that keeps a copy of what was saved last. */
function setup(kept: { saved: unknown }) {
  const clock = new TestClock()
  const quota = { per: 'day', spent: 0, remaining: 2_500, resetAtMs: clock.wall() + 43_200_000 } as const
  const counts = { lookups: 0 }
  const price = new Price(TTLS, { quota, clock, lookups: () => counts.lookups })
  const stations = new StationPacing(TTLS, { price, clock })
  const store = {
    load: async () => kept.saved,
    save: async (learned: unknown) => void (kept.saved = structuredClone(learned)),
  }
  const memory = new PacingMemory({ price, stations }, { store, clock })
  /** A request every five seconds. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 5_000) {
      await clock.advance(5_000)
      counts.lookups++
      price.thetaS()
    }
  }
  return { clock, price, stations, memory, pass }
}

await t.test('what pacing has learned', async (t) => {
  await t.test('is saved every minute and at the end, and restored by the next process', async (t) => {
    const kept = { saved: undefined }
    const first = setup(kept)
    first.memory.start()
    await first.pass(20 * MINUTE)
    const whileRunning = kept.saved
    first.stations.after(first.stations.first(), { differs: true, gapMs: 1_000 })
    await first.memory.stop()
    const next = setup(kept)
    next.memory.start()
    await settled()
    await next.memory.stop()
    t.ok(whileRunning, 'saved while it runs')
    t.ok(first.price.thetaS() < 30, 'the price has fallen, as no call was made')
    t.equal(next.price.thetaS(), first.price.thetaS())
    t.strictSame(next.stations.learned(), first.stations.learned())
    t.strictSame([first.clock.pending, next.clock.pending], [0, 0])
  })

  await t.test('is not saved before the demand is known: it would replace what others know', async (t) => {
    const kept = { saved: 'of another process' }
    const { memory, clock } = setup(kept)
    memory.start()
    await clock.advance(5 * MINUTE)
    await memory.stop()
    t.equal(kept.saved, 'of another process')
  })

  await t.test('is ignored if it is not of the right form', async (t) => {
    const price = { thetaS: 1, limit: 1, demand: [null, 1], calls: 0, lookups: 0 }
    const wrong = [
      null,
      'text',
      {},
      { price: { ...price, thetaS: Number.NaN } },
      { price: { ...price, demand: ['1'] } },
      { price: { ...price, demand: Array.from({ length: 25 }, () => 1) } },
      { price: { ...price, lookups: -1 } },
    ]
    t.strictSame(wrong.map(parseLearned), Array.from({ length: wrong.length }).fill(null))
    t.strictSame(parseLearned({ price, changes: { rate: [1], correctness: ['x'] } }), {
      price,
      changes: null,
    })
  })
})
