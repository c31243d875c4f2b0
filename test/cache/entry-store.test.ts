import * as fc from 'fast-check'
import t from 'tap'
import { Answer } from '../../src/cache/answer.ts'
import type { CacheEntry } from '../../src/cache/entry-store.ts'
import { EntryStore } from '../../src/cache/entry-store.ts'
import { NO_FILTER } from '../support/arbitraries.ts'
import { connector, level, station } from '../support/stations.ts'

const ROOMY = { maxEntries: 1_000, maxBytes: 10_000_000 }

function storeOf(limits: Partial<typeof ROOMY> = {}) {
  let evictions = 0
  const store = new EntryStore({ ...ROOMY, ...limits, onEviction: () => void evictions++ })
  return { store, evictions: () => evictions }
}

function heldFrom(answer: Answer, startedAt = 0): CacheEntry {
  return {
    answer,
    startedAt,
    receivedAt: startedAt,
    jitter: 1,
    version: '',
    fromPeer: false,
    lastUsedAt: startedAt,
  }
}

/** A station with one connector, the number of its free points telling one answer from another. */
function known(id: string, startedAt = 0, available = 1): CacheEntry {
  return heldFrom(new Answer(station(id, connector('Type2', level(22, available)))), startedAt)
}

function unknown(id: string, startedAt = 0): CacheEntry {
  return heldFrom(new Answer(station(id)), startedAt)
}

function withNote(id: string, length: number): CacheEntry {
  return heldFrom(new Answer({ ...station(id, connector('Type2', level(22))), note: 'x'.repeat(length) }))
}

await t.test('what was put is held, one answer a station', async (t) => {
  const { store, evictions } = storeOf()
  for (const held of [known('a', 1), unknown('b', 1), known('a', 2), unknown('b', 2)]) {
    store.put(held)
    t.equal(store.get(held.answer.id), held)
  }
  t.equal(store.get('c'), undefined)
  t.equal(store.entries, 2)
  t.equal(evictions(), 0, 'a newer answer evicts nothing')
})

await t.test('the answer of a later call is the newer one, whichever arrives first', async (t) => {
  const makers = [known, unknown]
  for (const earlier of makers) {
    for (const later of makers) {
      const { store } = storeOf()
      const newer = later('a', 2)
      store.put(newer)
      store.put(earlier('a', 1))
      t.equal(store.get('a'), newer)
      t.equal(store.entries, 1)
      t.equal(store.bytes, newer.answer.bytes)
    }
  }
})

await t.test('a station that loses or gets its connectors is held once', async (t) => {
  const { store } = storeOf()
  for (const held of [known('a', 1), unknown('a', 2), known('a', 3)]) {
    store.put(held)
    t.equal(store.get('a'), held)
    t.equal(store.entries, 1)
    t.equal(store.bytes, held.answer.bytes)
  }
})

await t.test('ids that every object inherits are ids like others', async (t) => {
  const { store } = storeOf()
  for (const id of ['__proto__', 'constructor', 'toString']) {
    t.equal(store.get(id), undefined)
    const held = known(id)
    store.put(held)
    t.equal(store.get(id), held)
  }
})

await t.test('the bytes', async (t) => {
  await t.test('grow with the renderings of what is held', async (t) => {
    const { store } = storeOf()
    const [one, two] = [known('a'), unknown('b')]
    store.put(one)
    store.put(two)
    for (const { answer } of [one, two]) {
      const before = store.bytes
      const { length } = answer.render(NO_FILTER, 'xml', false)
      t.ok(store.bytes >= before + length)
      t.equal(store.bytes, one.answer.bytes + two.answer.bytes)
    }
    t.equal(store.get('a')?.answer, one.answer)
  })

  await t.test('know nothing of what is made of an answer that has been replaced', async (t) => {
    const { store } = storeOf()
    const [old, fresh] = [known('a', 1), known('a', 2)]
    store.put(old)
    store.put(fresh)
    old.answer.render(NO_FILTER, 'xml', true)
    t.equal(store.bytes, fresh.answer.bytes)
    t.equal(store.get('a')?.answer, fresh.answer)
  })

  await t.test('nor of one that was evicted, or was never kept', async (t) => {
    const { store } = storeOf({ maxEntries: 1 })
    const [gone, present] = [known('a'), known('b', 2)]
    store.put(gone)
    store.put(present)
    const refused = known('b', 1)
    store.put(refused)
    gone.answer.render(NO_FILTER, 'xml', true)
    refused.answer.render(NO_FILTER, 'xml', true)
    t.equal(store.bytes, present.answer.bytes)
    t.equal(store.entries, 1)
    t.equal(store.get('a'), undefined)
  })
})

await t.test('for want of room', async (t) => {
  await t.test('the least recently used leaves, and each that leaves is told of', async (t) => {
    const { store, evictions } = storeOf({ maxEntries: 3 })
    for (const id of ['a', 'b', 'c']) store.put(known(id))
    store.get('a')
    store.put(known('d'))
    t.equal(store.get('b'), undefined)
    t.ok(store.get('a'))
    t.equal(evictions(), 1)
    t.equal(store.entries, 3)
  })

  await t.test('others make way for an answer that grows', async (t) => {
    const [first, second, third] = [withNote('a', 5_000), withNote('b', 5_000), withNote('c', 5_000)]
    const { store, evictions } = storeOf({ maxEntries: 9, maxBytes: 3 * first.answer.bytes + 1_000 })
    for (const held of [first, second, third]) store.put(held)
    t.equal(evictions(), 0)
    first.answer.render(NO_FILTER, 'xml', false)
    t.equal(evictions(), 1)
    t.equal(store.get('b'), undefined, 'the one that nobody used for longest')
    t.equal(store.bytes, first.answer.bytes + third.answer.bytes)
  })

  await t.test('an answer larger than all the room is not kept, which is told', async (t) => {
    const small = known('small')
    const { store, evictions } = storeOf({ maxEntries: 9, maxBytes: 10_000 })
    store.put(small)
    store.put(withNote('large', 10_000))
    t.equal(store.get('large'), undefined)
    t.equal(store.get('small'), small, 'and takes nobody else along')
    t.equal(evictions(), 1)
  })

  await t.test('nor is one that outgrows it', async (t) => {
    const { store, evictions } = storeOf({ maxEntries: 9, maxBytes: 10_000 })
    const growing = withNote('growing', 8_000)
    store.put(growing)
    growing.answer.render(NO_FILTER, 'xml', false)
    t.equal(store.get('growing'), undefined)
    t.equal(store.bytes, 0)
    t.equal(evictions(), 1)
  })

  await t.test('one that is not kept leaves no older answer behind', async (t) => {
    const { store } = storeOf({ maxEntries: 9, maxBytes: 10_000 })
    store.put(known('a', 1))
    store.put({ ...withNote('a', 10_000), startedAt: 2 })
    t.equal(store.get('a'), undefined)
  })

  await t.test('stations without connectors push out no others while a tenth is free', async (t) => {
    const { store, evictions } = storeOf({ maxEntries: 100 })
    for (let i = 0; i < 90; i++) store.put(known(`station-${i}`))
    for (let i = 0; i < 1_000; i++) store.put(unknown(`made-up-${i}`))
    for (let i = 0; i < 90; i++) t.ok(store.get(`station-${i}`))
    t.equal(evictions(), 990, 'each other')
    t.equal(store.entries, 100)
  })

  await t.test('and no more than a tenth where there is no room to spare', async (t) => {
    const { store } = storeOf({ maxEntries: 100 })
    for (let i = 0; i < 100; i++) store.put(known(`station-${i}`))
    for (let i = 0; i < 1_000; i++) store.put(unknown(`made-up-${i}`))
    for (let i = 10; i < 100; i++) t.ok(store.get(`station-${i}`))
    t.equal(store.entries, 100)
  })

  await t.test('nor do they keep room that they do not need', async (t) => {
    for (const maxEntries of [1, 2, 10, 20, 100]) {
      const { store, evictions } = storeOf({ maxEntries })
      for (let i = 0; i < maxEntries; i++) store.put(known(`station-${i}`))
      t.equal(store.entries, maxEntries)
      t.equal(evictions(), 0)
      store.put(unknown('made-up'))
      t.ok(store.get('made-up'), 'and yet one of them is held')
      t.equal(store.entries, maxEntries)
      t.equal(evictions(), 1)
    }
  })

  await t.test('where there is no room to share out they are held like others', async (t) => {
    const { store } = storeOf({ maxEntries: 1 })
    store.put(unknown('a'))
    t.ok(store.get('a'))
    store.put(known('b'))
    t.equal(store.get('a'), undefined)
    t.equal(store.entries, 1)
    t.equal(store.bytes, store.get('b')?.answer.bytes)
  })
})

await t.test('100,000 random ids, rendered in every way: neither bound is ever passed', async (t) => {
  const limits = { maxEntries: 500, maxBytes: 400_000 }
  const { store, evictions } = storeOf(limits)
  let state = 1
  const random = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32
  const hot = Array.from({ length: 20 }, (_, i) => known(`hot-${i}`))
  for (const held of hot) store.put(held)

  let most = 0
  for (let i = 0; i < 100_000; i++) {
    const id = `${i}-${random()}`
    const held = random() < 0.7 ? unknown(id) : known(id)
    store.put(held)
    if (i % 4 === 0) held.answer.render(NO_FILTER, i % 8 === 0 ? 'xml' : 'json', i % 40 === 0)
    store.get(`hot-${i % hot.length}`)
    most = Math.max(most, store.bytes)
    if (store.entries > limits.maxEntries || store.bytes > limits.maxBytes) t.fail(`after ${i} ids`)
  }
  t.ok(most > 0.9 * limits.maxBytes, 'the room was needed')
  t.ok(evictions() > 99_000)
  for (const { answer } of hot) t.equal(store.get(answer.id)?.answer, answer)
})

await t.test('whatever is put, read and rendered, the bytes are those of what is held', async () => {
  const ids = ['a', 'b', 'c', 'd', 'e', 'f'] as const
  const anyStep = fc.record({
    id: fc.constantFrom(...ids),
    startedAt: fc.nat({ max: 20 }),
    what: fc.constantFrom('put', 'put empty', 'put large', 'read', 'render', 'compress'),
  })
  const anyLimits = fc.record({
    maxEntries: fc.integer({ min: 1, max: 30 }),
    maxBytes: fc.integer({ min: 1_000, max: 30_000 }),
  })
  fc.assert(
    fc.property(anyLimits, fc.array(anyStep, { maxLength: 60, size: 'max' }), (limits, steps) => {
      const { store } = storeOf(limits)
      const made: CacheEntry[] = []
      for (const { id, startedAt, what } of steps) {
        if (what === 'put') made.push(known(id, startedAt))
        else if (what === 'put empty') made.push(unknown(id, startedAt))
        else if (what === 'put large') made.push({ ...withNote(id, 3_000), startedAt })
        else if (what === 'read') store.get(id)
        else
          made
            .findLast(({ answer }) => answer.id === id)
            ?.answer.render(NO_FILTER, 'xml', what === 'compress')
        const latest = made.at(-1)
        if (what.startsWith('put') && latest !== undefined) store.put(latest)

        const held = ids.map((one) => store.get(one)).filter((one) => one !== undefined)
        const bytes = held.reduce((sum, { answer }) => sum + answer.bytes, 0)
        if (store.bytes !== bytes) throw new Error(`${store.bytes} bytes, recounted ${bytes}`)
        if (store.entries !== held.length) throw new Error(`${store.entries}, recounted ${held.length}`)
        if (held.length > limits.maxEntries || bytes > limits.maxBytes) throw new Error('a bound is passed')
      }
    }),
    { seed: 20_260_115, numRuns: 500 },
  )
})
