import * as fc from 'fast-check'
import t from 'tap'
import { UNPACED } from '../../src/cache/entry-store.ts'
import { Answer } from '../../src/cache/answer.ts'
import type { CacheEntry } from '../../src/cache/entry-store.ts'
import { EntryStore, floorMs } from '../../src/cache/entry-store.ts'
import { NO_FILTER } from '../support/arbitraries.ts'
import { connector, level, station } from '../support/stations.ts'
import { repeat, seeded } from './setup.ts'

const ROOMY = { maxEntries: 1_000, maxBytes: 10_000_000 }

function setupStore(limits: Partial<typeof ROOMY> = {}) {
  let evictions = 0
  const store = new EntryStore({ ...ROOMY, ...limits, onEviction: () => void evictions++ })
  return { store, evictions: () => evictions }
}

function entryOf(answer: Answer, startedAt = 0): CacheEntry {
  return {
    answer,
    startedAt,
    receivedAt: startedAt,
    jitter: 1,
    version: '',
    fromPeer: false,
    doubt: null,
    changedAt: 0,
    lastUsedAt: startedAt,
    ...UNPACED,
  }
}

/** A station with one connector. */
function known(id: string, startedAt = 0): CacheEntry {
  return entryOf(new Answer(station(id, connector('Type2', level(22)))), startedAt)
}

function unknown(id: string, startedAt = 0): CacheEntry {
  return entryOf(new Answer(station(id)), startedAt)
}

function withNote(id: string, length: number): CacheEntry {
  return entryOf(new Answer({ ...station(id, connector('Type2', level(22))), note: 'x'.repeat(length) }))
}

/** Ids `prefix-0` to `prefix-(count - 1)`. */
const idsOf = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}-${i}`)

await t.test('one entry per station is stored', async (t) => {
  await t.test('get returns the entry that was put last', async (t) => {
    const { store, evictions } = setupStore()
    const entries = [known('a', 1), unknown('b', 1), known('a', 2), unknown('b', 2)]
    const stored = entries.map((entry) => {
      store.put(entry)
      return store.get(entry.answer.id)
    })
    t.strictSame(
      stored.map((entry, i) => entry === entries[i]),
      repeat(4, true),
    )
    t.equal(store.get('c'), null)
    t.equal(store.entries, 2)
    t.equal(evictions(), 0, 'a newer answer evicts nothing')
  })

  for (const [earlier, later] of [
    [known, known],
    [known, unknown],
    [unknown, known],
    [unknown, unknown],
  ] as const) {
    await t.test(
      `a late entry (${earlier.name}) does not replace that of a later call (${later.name})`,
      async (t) => {
        const { store } = setupStore()
        const newer = later('a', 2)
        store.put(newer)
        store.put(earlier('a', 1))
        t.equal(store.get('a'), newer)
        t.equal(store.entries, 1)
        t.equal(store.bytes, newer.answer.bytes)
      },
    )
  }

  await t.test('a station that loses or gets its connectors is stored once', async (t) => {
    const { store } = setupStore()
    const seen = [known('a', 1), unknown('a', 2), known('a', 3)].map((entry) => {
      store.put(entry)
      return [store.get('a') === entry, store.entries, store.bytes === entry.answer.bytes]
    })
    t.strictSame(seen, repeat(3, [true, 1, true]))
  })

  await t.test('ids that every object inherits are ids like others', async (t) => {
    const { store } = setupStore()
    const seen = ['__proto__', 'constructor', 'toString'].map((id) => {
      const before = store.get(id)
      const entry = known(id)
      store.put(entry)
      return [before, store.get(id) === entry]
    })
    t.strictSame(seen, repeat(3, [null, true]))
  })

  await t.test('floorMs rounds down, so that an entry never looks fresher than it is', async (t) => {
    t.strictSame([floorMs(1.999), floorMs(2)], [1, 2])
  })
})

await t.test('the bytes are those of the stored answers', async (t) => {
  await t.test('the bytes grow with the renderings of stored answers', async (t) => {
    const { store } = setupStore()
    const [one, two] = [known('a'), unknown('b')]
    store.put(one)
    store.put(two)
    const seen = [one, two].map(({ answer }) => {
      const before = store.bytes
      const { length } = answer.render(NO_FILTER, 'xml', false)
      return [store.bytes >= before + length, store.bytes === one.answer.bytes + two.answer.bytes]
    })
    t.strictSame(seen, repeat(2, [true, true]))
    t.equal(store.get('a')?.answer, one.answer)
  })

  await t.test('renderings of a replaced answer are not counted', async (t) => {
    const { store } = setupStore()
    const [replaced, present] = [known('a', 1), known('a', 2)]
    store.put(replaced)
    store.put(present)
    replaced.answer.render(NO_FILTER, 'xml', true)
    t.equal(store.bytes, present.answer.bytes)
    t.equal(store.get('a')?.answer, present.answer)
  })

  await t.test('renderings of an answer that was evicted or never stored are not counted', async (t) => {
    const { store } = setupStore({ maxEntries: 1 })
    const [evicted, present, late] = [known('a'), known('b', 2), known('b', 1)]
    for (const entry of [evicted, present, late]) store.put(entry)
    evicted.answer.render(NO_FILTER, 'xml', true)
    late.answer.render(NO_FILTER, 'xml', true)
    t.equal(store.bytes, present.answer.bytes)
    t.equal(store.entries, 1)
    t.equal(store.get('a'), null)
  })
})

await t.test('an answer that has left the store keeps no renderings', async (t) => {
  /** Bytes of an answer's renderings, and whether another rendering of the same filter is a new one. */
  const keptBy = ({ answer }: CacheEntry) => {
    const before = answer.bytes
    const render = () => answer.render({ ...NO_FILTER, minPowerKW: 7 }, 'xml', true)
    return [render() !== render(), answer.bytes > before]
  }
  const ways: Record<string, (store: EntryStore) => void> = {
    evicted: (store) => void store.put(known('b', 1)),
    replaced: (store) => void store.put(known('a', 2)),
    'replaced by an empty one': (store) => void store.put(unknown('a', 2)),
    deleted: (store) => store.delete('a'),
    cleared: (store) => store.clear(),
  }
  for (const [name, leave] of Object.entries(ways)) {
    await t.test(`an answer that was ${name} keeps none until it is stored again`, async (t) => {
      const { store } = setupStore({ maxEntries: 1 })
      const entry = known('a', 1)
      const base = entry.answer.bytes
      store.put(entry)
      t.strictSame(keptBy(entry), [false, true], 'in the store it keeps them')
      leave(store)
      t.ok(entry.answer.bytes < base + 600, 'those that it had are dropped, only the index is left')
      t.strictSame(keptBy(entry), [true, false])
      store.clear()
      store.put({ ...entry, startedAt: 3 })
      t.strictSame(keptBy(entry), [false, true], 'in the store again it keeps them again')
    })
  }
})

await t.test('entries are evicted at the bounds', async (t) => {
  await t.test('the least recently used entry is evicted, and each eviction is reported', async (t) => {
    const { store, evictions } = setupStore({ maxEntries: 3 })
    for (const id of ['a', 'b', 'c']) store.put(known(id))
    store.get('a')
    store.put(known('d'))
    t.equal(store.get('b'), null)
    t.ok(store.get('a'))
    t.equal(evictions(), 1)
    t.equal(store.entries, 3)
  })

  await t.test('an answer that grows evicts others', async (t) => {
    const [first, second, third] = [withNote('a', 5_000), withNote('b', 5_000), withNote('c', 5_000)]
    const { store, evictions } = setupStore({ maxEntries: 9, maxBytes: 3 * first.answer.bytes + 1_000 })
    for (const entry of [first, second, third]) store.put(entry)
    t.equal(evictions(), 0)
    first.answer.render(NO_FILTER, 'xml', false)
    t.equal(evictions(), 1)
    t.equal(store.get('b'), null, 'the least recently used')
    t.equal(store.bytes, first.answer.bytes + third.answer.bytes)
  })

  await t.test(
    'renderings beyond a quarter of the bytes are dropped before an answer is evicted',
    async (t) => {
      const entries = idsOf('station', 8).map((id) => withNote(id, 10_000))
      const answers = entries.reduce((sum, { answer }) => sum + answer.bytes, 0)
      const maxBytes = Math.floor(answers / 0.7)
      const { store, evictions } = setupStore({ maxBytes })
      for (const entry of entries) store.put(entry)
      const filters = Array.from({ length: 40 }, (_, i) => ({ ...NO_FILTER, minPowerKW: i }))
      for (const filter of filters) for (const { answer } of entries) answer.render(filter, 'xml', true)
      t.equal(evictions(), 0)
      t.equal(store.stations, 8)
      t.ok(store.bytes <= maxBytes)
      const [first, last] = [entries[0], entries.at(-1)] as [CacheEntry, CacheEntry]
      const render = ({ answer }: CacheEntry) => answer.render(filters.at(-1) ?? NO_FILTER, 'xml', true)
      t.equal(render(last), render(last), 'those made last are kept')
      for (const entry of idsOf('other', 8).map((id) => withNote(id, 10_000))) store.put(entry)
      t.ok(evictions() > 0, 'more answers evict others as before')
      t.ok(store.bytes <= maxBytes)
      t.not(render(first), render(first), 'which keep no renderings')
    },
  )

  await t.test('an answer larger than the capacity is not stored, which is reported', async (t) => {
    const small = known('small')
    const { store, evictions } = setupStore({ maxEntries: 9, maxBytes: 10_000 })
    store.put(small)
    store.put(withNote('large', 10_000))
    t.equal(store.get('large'), null)
    t.equal(store.get('small'), small, 'it evicts no other entry')
    t.equal(evictions(), 1)
  })

  await t.test('an answer that outgrows the capacity is evicted', async (t) => {
    const { store, evictions } = setupStore({ maxEntries: 9, maxBytes: 10_000 })
    const growing = withNote('growing', 8_000)
    store.put(growing)
    growing.answer.render(NO_FILTER, 'xml', false)
    t.equal(store.get('growing'), null)
    t.equal(store.bytes, 0)
    t.equal(evictions(), 1)
  })

  await t.test('an answer that is too large still removes the older one of its station', async (t) => {
    const { store } = setupStore({ maxEntries: 9, maxBytes: 10_000 })
    store.put(known('a', 1))
    store.put({ ...withNote('a', 10_000), startedAt: 2 })
    t.equal(store.get('a'), null)
  })
})

await t.test('stations without connectors have a share of a tenth', async (t) => {
  await t.test('empty stations evict no others while a tenth of the capacity is free', async (t) => {
    const { store, evictions } = setupStore({ maxEntries: 100 })
    const stations = idsOf('station', 90)
    for (const id of stations) store.put(known(id))
    for (const id of idsOf('made-up', 1_000)) store.put(unknown(id))
    t.strictSame(
      stations.filter((id) => store.get(id) === null),
      [],
    )
    t.equal(evictions(), 990, 'they evict each other')
    t.equal(store.entries, 100)
  })

  await t.test('empty stations evict at most a tenth of a full store', async (t) => {
    const { store } = setupStore({ maxEntries: 100 })
    const stations = idsOf('station', 100)
    for (const id of stations) store.put(known(id))
    for (const id of idsOf('made-up', 1_000)) store.put(unknown(id))
    t.strictSame(
      stations.filter((id) => store.get(id) === null),
      stations.slice(0, 10),
    )
    t.equal(store.entries, 100)
  })

  for (const maxEntries of [1, 2, 10, 20, 100]) {
    await t.test(`stations use all of a capacity of ${maxEntries} until there is a made-up id`, async (t) => {
      const { store, evictions } = setupStore({ maxEntries })
      for (const id of idsOf('station', maxEntries)) store.put(known(id))
      t.strictSame([store.entries, evictions()], [maxEntries, 0])
      store.put(unknown('made-up'))
      t.ok(store.get('made-up'))
      t.strictSame([store.entries, evictions()], [maxEntries, 1])
    })
  }

  await t.test(
    'empty stations are stored and evicted like others with a capacity of one entry',
    async (t) => {
      const { store } = setupStore({ maxEntries: 1 })
      store.put(unknown('a'))
      t.ok(store.get('a'))
      store.put(known('b'))
      t.equal(store.get('a'), null)
      t.equal(store.entries, 1)
      t.equal(store.bytes, store.get('b')?.answer.bytes)
    },
  )
})

await t.test('100,000 random ids with renderings never exceed a bound', async (t) => {
  const limits = { maxEntries: 500, maxBytes: 400_000 }
  const { store, evictions } = setupStore(limits)
  const random = seeded()
  const hot = idsOf('hot', 20).map((id) => known(id))
  for (const entry of hot) store.put(entry)

  let most = { entries: 0, bytes: 0 }
  for (let i = 0; i < 100_000; i++) {
    const id = `${i}-${random()}`
    const entry = random() < 0.7 ? unknown(id) : known(id)
    store.put(entry)
    if (i % 4 === 0) entry.answer.render(NO_FILTER, i % 8 === 0 ? 'xml' : 'json', i % 40 === 0)
    store.get(`hot-${i % hot.length}`)
    most = { entries: Math.max(most.entries, store.entries), bytes: Math.max(most.bytes, store.bytes) }
  }
  t.ok(most.entries <= limits.maxEntries, `${most.entries} entries`)
  t.ok(most.bytes <= limits.maxBytes, `${most.bytes} bytes`)
  t.ok(most.bytes > 0.9 * limits.maxBytes, 'the bound was reached')
  t.ok(evictions() > 99_000)
  t.strictSame(
    hot.filter(({ answer }) => store.get(answer.id)?.answer !== answer),
    [],
    'entries in use are kept',
  )
})

const IDS = ['a', 'b', 'c', 'd', 'e', 'f'] as const
const anyStep = fc.record({
  id: fc.constantFrom(...IDS),
  startedAt: fc.nat({ max: 20 }),
  what: fc.constantFrom('put', 'put empty', 'put large', 'read', 'render', 'compress'),
})
const anyLimits = fc.record({
  maxEntries: fc.integer({ min: 1, max: 30 }),
  maxBytes: fc.integer({ min: 1_000, max: 30_000 }),
})

await t.test('bytes and entries are those of a recount after every random step', async () => {
  fc.assert(
    fc.property(anyLimits, fc.array(anyStep, { maxLength: 60, size: 'max' }), (limits, steps) => {
      const { store } = setupStore(limits)
      const entries: CacheEntry[] = []
      for (const { id, startedAt, what } of steps) {
        if (what === 'put') entries.push(known(id, startedAt))
        else if (what === 'put empty') entries.push(unknown(id, startedAt))
        else if (what === 'put large') entries.push({ ...withNote(id, 3_000), startedAt })
        else if (what === 'read') store.get(id)
        else
          entries
            .findLast(({ answer }) => answer.id === id)
            ?.answer.render(NO_FILTER, 'xml', what === 'compress')
        const latest = entries.at(-1)
        if (what.startsWith('put') && latest !== undefined) store.put(latest)

        const stored = IDS.map((one) => store.get(one)).filter((entry) => entry !== null)
        const bytes = stored.reduce((sum, { answer }) => sum + answer.bytes, 0)
        if (store.bytes !== bytes) throw new Error(`${store.bytes} bytes, recounted ${bytes}`)
        if (store.entries !== stored.length) throw new Error(`${store.entries}, recounted ${stored.length}`)
        if (stored.length > limits.maxEntries || bytes > limits.maxBytes)
          throw new Error('a bound is exceeded')
      }
    }),
    { seed: 20_260_115, numRuns: 500 },
  )
})
