/* What pacing adds to a cache entry, measured on V8's heap. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { CacheEntry } from '../../src/cache/entry-store.ts'
import { createEntry } from '../../src/cache/entry-store.ts'
import { withState } from '../../src/cache/pacing-port.ts'
import { StationPacing } from '../../src/upstream/pacing/station-pacing.ts'

const ENTRIES = 200_000
/** Six small integers. */
const ADDED_BYTES = 48
/** Of the measurement: lists, and code that is compiled meanwhile. */
const TOLERANCE_BYTES = 4

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function heapPerEntry(create: (i: number) => object): number {
  for (let i = 0; i < 1_000; i++) create(i) // compiled, with its hidden classes
  const entries = Array.from<object | null>({ length: ENTRIES }).fill(null)
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < ENTRIES; i++) entries[i] = create(i)
  collectGarbage()
  const bytes = (process.memoryUsage().heapUsed - before) / ENTRIES
  return entries.length === ENTRIES ? bytes : Number.NaN
}

await t.test('pacing adds at most 48 bytes to an entry, however much it has counted', async (t) => {
  const answer = { isEmpty: false, availability: { chargingAvailability: 'a', connectors: [] } }
  const unpaced = (i: number) => ({
    answer,
    receivedAt: i,
    startedAt: i,
    jitter: 1,
    version: '',
    fromPeer: false,
    doubt: null,
    changedAt: 0,
    lastUsedAt: i,
  })
  const pacing = new StationPacing(
    { ttlMs: 30_000, maxTtlMs: 86_400_000 },
    { price: { thetaS: () => 900 } as never, clock: { now: () => 0, wall: () => 0 } },
  )
  const loaded = (i: number) => createEntry(unpaced(i) as unknown as CacheEntry)
  const paced = (i: number) => {
    const present = withState(loaded(i), null, pacing)
    const entry = withState(loaded(i + 3_600_000), present, pacing)
    for (let j = 0; j < 3; j++) pacing.served(entry, 40_000_000 + i)
    return entry
  }
  const without = heapPerEntry(unpaced)
  const added = [loaded, paced].map((create) => heapPerEntry(create) - without)
  t.strictSame(
    added.map((bytes) => bytes > 0 && bytes <= ADDED_BYTES + TOLERANCE_BYTES),
    [true, true],
    `${added.join(' and ')} bytes more, before and after calls that were compared`,
  )
})
