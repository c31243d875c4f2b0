import t from 'tap'
import { MAX_SHORT_TEXT } from '../../src/availability/decode.ts'
import { EntryStore } from '../../src/cache/entry-store.ts'
import type { AnswerArchive } from '../../src/cache/shared-store.ts'
import { READ_AT_ONCE, READ_BYTES_AT_ONCE, WarmStart } from '../../src/cache/warm-start.ts'
import { Turns } from '../../src/lib/turns.ts'
import { settled, TestClock } from '../support/clock.ts'
import { connector, level, station } from '../support/stations.ts'
import { KNOWN } from '../support/station-state.ts'
import { countTurns } from '../support/turn-count.ts'

const json = (id: string, length = 0) =>
  JSON.stringify(station(id, connector('Type2', level(22)))).padEnd(length)

/** An archive of stations `s0` (the most recently used) to `s<count - 1>`. */
function setup({
  count,
  maxEntries = 1_000,
  maxBytes = 10_000_000,
  bytes = 500,
  turns = new Turns(),
}: {
  count: number
  /** Of each answer. */
  bytes?: number
  turns?: Turns
  maxEntries?: number
  maxBytes?: number
}) {
  const clock = new TestClock()
  const portions: (readonly string[])[] = []
  const purged = new Set<string>()
  const archive: AnswerArchive = {
    async *recent() {
      yield Array.from({ length: count }, (_, i) => ({
        id: `s${i}`,
        usedAtMs: clock.wall() - i * 1_000,
        bytes,
      }))
    },
    read: async (ids) => {
      portions.push(ids)
      return ids
        .filter((id) => !purged.has(id))
        .map((id) => [
          id,
          {
            version: 'v',
            json: json(id, bytes),
            ageMs: 5_000,
            startedAgoMs: 5_100,
            jitter: 1,
            changedAt: 0,
            station: KNOWN,
          },
        ])
    },
  }
  const store = new EntryStore({ maxEntries, maxBytes, onEviction: () => t.fail('nothing is evicted') })
  const options = { maxEntries, maxBytes, powerFilter: 'recount' } as const
  const warmStart = new WarmStart({ ...options, archive, store, clock, turns, purges: () => purged.size })
  /** Passes time until all is read. */
  const run = async () => {
    const progress = { isOver: false }
    const over = warmStart.run().then(() => (progress.isOver = true))
    for (let i = 0; i < 1_000 && !progress.isOver; i++) await clock.advance(5)
    await over
  }
  const ids = () => Array.from(store.recent(), ({ answer }) => answer.id)
  return { clock, store, warmStart, run, ids, portions, purged }
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

await t.test('a portion has a number of answers and of bytes at most, or a single answer', async (t) => {
  const lengthsOf = async (count: number, bytes: number) => {
    const { run, portions } = setup({ count, bytes })
    await run()
    return portions.map(({ length }) => length)
  }
  const most = READ_AT_ONCE
  t.strictSame(
    await Promise.all([
      ...[most - 1, most, most + 1].map((count) => lengthsOf(count, 500)),
      ...[-1, 0, 1].map((more) => lengthsOf(4, READ_BYTES_AT_ONCE / 2 + more)),
      lengthsOf(2, READ_BYTES_AT_ONCE + 1),
    ]),
    [[most - 1], [most], [most, 1], [2, 2], [2, 2], [1, 1, 1, 1], [1, 1]],
  )
})

await t.test('long answers are decoded in a turn of the event loop each', async (t) => {
  const turn = countTurns(t)
  const seen: number[] = []
  const { parse } = JSON
  t.intercept(JSON, 'parse', {
    value: (...parameters: Parameters<typeof parse>): unknown => {
      seen.push(turn())
      return parse(...parameters)
    },
  })
  const { run, ids } = setup({ count: 5, bytes: MAX_SHORT_TEXT + 1 })
  await run()
  t.equal(ids().length, 5)
  t.equal(new Set(seen).size, 5, String(seen))
})

await t.test('an answer that is purged while it waits to be decoded is not restored', async (t) => {
  const { run, ids, purged } = setup({ count: 3, bytes: MAX_SHORT_TEXT + 1 })
  const done = run()
  await settled()
  purged.add('s1')
  await done
  t.strictSame(ids(), ['s0', 's2'])
})
