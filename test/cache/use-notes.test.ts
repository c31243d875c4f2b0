import t from 'tap'
import { Answer } from '../../src/cache/answer.ts'
import { EntryStore, UNPACED } from '../../src/cache/entry-store.ts'
import type { StationUse } from '../../src/cache/shared-store.ts'
import { UseNotes } from '../../src/cache/use-notes.ts'
import { TestClock } from '../support/clock.ts'
import { connector, level, station } from '../support/stations.ts'

function setup(count: number) {
  const clock = new TestClock()
  const noted: StationUse[][] = []
  const entries = new EntryStore({ maxEntries: 10_000, maxBytes: 1e9, onEviction: () => {} })
  const put = (id: string) => {
    const now = Math.floor(clock.now())
    const answer = new Answer(station(id, connector('Type2', level(22))))
    const moments = { receivedAt: now, startedAt: now, lastUsedAt: now, changedAt: 0 }
    entries.put({
      ...UNPACED,
      ...moments,
      answer,
      jitter: 1,
      version: `of ${id}`,
      fromPeer: false,
      doubt: null,
    })
  }
  for (let i = 0; i < count; i++) put(`s${i}`)
  const use = (id: string) => {
    const entry = entries.get(id)
    if (entry === null) return
    entry.lastUsedAt = Math.ceil(clock.now())
    entry.served++
  }
  const shared = { noteUses: async (uses: readonly StationUse[]) => void noted.push([...uses]) }
  const notes = new UseNotes({ shared, entries, clock })
  return { clock, noted, notes, use }
}

const idsOf = (uses: readonly StationUse[] = []) => uses.map(({ id }) => id)

await t.test(
  'uses since the last time are noted every 30 s, the last one last, and at the end',
  async (t) => {
    const { clock, noted, notes, use } = setup(4)
    await clock.advance(10)
    notes.start()
    use('s2')
    use('s1')
    await clock.advance(29_000)
    t.strictSame(noted, [])
    await clock.advance(1_000)
    t.strictSame(idsOf(noted[0]).slice(-2), ['s2', 's1'])
    use('s3')
    await notes.stop()
    t.strictSame(idsOf(noted[1]), ['s3'])
    t.match(noted[1], [{ version: 'of s3', station: { ...UNPACED, served: 1 } }])
    await clock.advance(60_000)
    t.equal(noted.length, 2)
  },
)

await t.test(
  'without uses nothing is noted, and of a station that pacing does not know only the use',
  async (t) => {
    const { clock, noted, notes } = setup(1)
    await clock.advance(10)
    notes.start()
    await clock.advance(30_000)
    t.strictSame(noted, [[{ id: 's0', version: 'of s0', station: null }]])
    await clock.advance(30_000)
    t.equal(noted.length, 1)
    await notes.stop()
  },
)

await t.test('at most 5,000 stations are noted at once, those that were used last', async (t) => {
  const { noted, notes } = setup(5_001)
  await notes.stop()
  t.equal(noted[0]?.length, 5_000)
  t.equal(noted[0]?.at(-1)?.id, 's5000')
})
