import t from 'tap'
import { EntryStore } from '../../src/cache/entry-store.ts'
import type { AnswerArchive } from '../../src/cache/shared-store.ts'
import { WarmStart } from '../../src/cache/warm-start.ts'
import { TestClock } from '../support/clock.ts'
import { connector, level, station } from '../support/stations.ts'
import { KNOWN } from '../support/station-state.ts'

const json = (id: string) => JSON.stringify(station(id, connector('Type2', level(22))))

/** An archive of stations `s0` (the most recently used) to `s<count - 1>`. */
function setup({
  count,
  maxEntries = 1_000,
  maxBytes = 10_000_000,
}: {
  count: number
  maxEntries?: number
  maxBytes?: number
}) {
  const clock = new TestClock()
  const archive: AnswerArchive = {
    async *recent() {
      yield Array.from({ length: count }, (_, i) => ({
        id: `s${i}`,
        usedAtMs: clock.wall() - i * 1_000,
        bytes: 500,
      }))
    },
    read: async (ids) =>
      ids.map((id) => [
        id,
        {
          version: 'v',
          json: json(id),
          ageMs: 5_000,
          startedAgoMs: 5_100,
          jitter: 1,
          changedAt: 0,
          station: KNOWN,
        },
      ]),
  }
  const store = new EntryStore({ maxEntries, maxBytes, onEviction: () => t.fail('nothing is evicted') })
  const options = { maxEntries, maxBytes, powerFilter: 'recount' } as const
  const warmStart = new WarmStart({ ...options, archive, store, clock })
  /** Passes time until all is read. */
  const run = async () => {
    const progress = { isOver: false }
    const over = warmStart.run().then(() => (progress.isOver = true))
    for (let i = 0; i < 1_000 && !progress.isOver; i++) await clock.advance(5)
    await over
  }
  const ids = () => Array.from(store.recent(), ({ answer }) => answer.id)
  return { clock, store, warmStart, run, ids }
}

await t.test(
  'the most recently used answers that fit are in memory, in the order of their use',
  async (t) => {
    const { run, ids } = setup({ count: 200, maxEntries: 120 })
    await run()
    t.strictSame(
      ids(),
      Array.from({ length: 120 }, (_, i) => `s${i}`),
    )
  },
)

await t.test('the answers that are read fit into the bytes of the memory', async (t) => {
  const { run, ids, store } = setup({ count: 200, maxBytes: 50_000 })
  await run()
  t.ok(ids().length > 20)
  t.ok(store.bytes <= 50_000)
})

await t.test('an answer keeps its age, and one that is in memory already is not replaced', async (t) => {
  const { run, store, clock } = setup({ count: 1 })
  await run()
  const entry = store.peek('s0')
  const age = clock.now() - (entry?.receivedAt ?? 0)
  t.ok(age >= 5_000 && age < 6_000, `${age}`)
  await run()
  t.equal(store.peek('s0'), entry)
})

await t.test('a station continues with what pacing knew of it', async (t) => {
  const { run, store } = setup({ count: 1 })
  await run()
  t.match(store.peek('s0'), KNOWN)
})

await t.test('nothing more is read after the stop', async (t) => {
  const { run, ids, warmStart } = setup({ count: 200 })
  warmStart.stop()
  await run()
  t.strictSame(ids(), [])
})
