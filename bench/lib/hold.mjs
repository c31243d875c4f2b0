/**
 * Fills the service's cache with STATIONS entries and measures their memory, in a process of its own. Needs --expose-gc.
 * Prints one JSON object; memory in bytes, times in ms.
 */
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { setImmediate } from 'node:timers/promises'
import { decodeAvailability } from '../../dist/availability/decode.js'
import { parseQuery } from '../../dist/availability/query.js'
import { Cache } from '../../dist/cache/cache.js'
import { systemClock } from '../../dist/lib/clock.js'
import { stationBody, stationId } from './stations.mjs'

const stations = Number(process.env.STATIONS)
const BATCH = 500
const CHURN_MS = Number(process.env.CHURN_MS ?? 4_000)

let pauses = []
new PerformanceObserver((list) => {
  for (const { duration, detail } of list.getEntries()) {
    const isForced = (detail.flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0
    if (!isForced) pauses.push(duration)
  }
}).observe({ entryTypes: ['gc'] })

const cache = new Cache(
  {
    ttlMs: 86_400_000,
    maxTtlMs: 86_400_000,
    emptyTtlMs: 86_400_000,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    softTimeoutMs: 800,
    flightTimeoutMs: 60_000,
    maxEntries: stations,
    maxBytes: 2 ** 40,
  },
  {
    // Decoded as in the service: bytes, then text, then an object.
    load: async (id) => decodeAvailability(Buffer.from(stationBody(id)).toString(), id),
    observer: { lookedUp() {}, evicted() {}, emptyDoubted() {}, answerStored() {} },
    clock: systemClock,
    random: Math.random,
    pacing: null,
    shared: null,
  },
)

const before = measured()
await fill(0, stations)
const pauseWhileFilling = await longestPause()
const filled = measured()
const accounted = cache.store.bytes
const pauseInUse = await inUse()
const afterUse = measured()
const result = {
  heap: filled.heap - before.heap,
  resident: filled.resident - before.resident,
  accounted,
  bodyBytes: (await cache.get(stationId(0))).answer.json.length,
  pauseWhileFilling,
  pauseInUse,
  drift: afterUse.heap - filled.heap,
}
if (process.env.RENDER) Object.assign(result, await rendered())
console.log(JSON.stringify(result))

async function fill(from, to) {
  for (let at = from; at < to; at += BATCH) {
    const ids = Array.from({ length: Math.min(BATCH, to - at) }, (_, i) => stationId(at + i))
    await Promise.all(ids.map((id) => cache.get(id)))
    await setImmediate()
  }
}

/** The normal load of a full cache: new stations evict others between lookups. */
async function inUse() {
  pauses = []
  const unfiltered = parseQuery('chargingAvailability=x')
  let [next, lookups] = [stations, 0]
  for (const end = performance.now() + CHURN_MS; performance.now() < end;) {
    await fill(next, next + 50)
    next += 50
    for (let i = 0; i < 500; i++) {
      const found = await cache.get(stationId(next - 1 - ((lookups += 7_919) % stations)))
      if (i % 50 === 0) found.answer.render(unfiltered, 'json', false)
    }
    await setImmediate()
  }
  return longestPause()
}

/** Three renderings per entry: XML, compressed JSON and filtered JSON. */
async function rendered() {
  const unfiltered = parseQuery('chargingAvailability=x')
  const filtered = parseQuery('chargingAvailability=x&minPowerKW=50')
  const [heap, bytes] = [measured().heap, cache.store.bytes]
  let count = 0
  for (let i = 0; count < cache.store.entries; i++) {
    const found = cache.peek(stationId(i))
    if (found === null) continue
    count++
    found.answer.render(unfiltered, 'xml', false)
    found.answer.render(unfiltered, 'json', true)
    found.answer.render(filtered, 'json', false)
    if (count % BATCH === 0) await setImmediate()
  }
  return {
    rendered: count,
    renderedHeap: measured().heap - heap,
    renderedAccounted: cache.store.bytes - bytes,
  }
}

/** The observer gets its entries one turn later. */
async function longestPause() {
  await setImmediate()
  await setImmediate()
  const longest = pauses.reduce((most, ms) => Math.max(most, ms), 0)
  pauses = []
  return longest
}

function measured() {
  globalThis.gc()
  globalThis.gc()
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heap: heapUsed + external, resident: rss }
}
