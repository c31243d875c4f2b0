/**
 * Upstream calls of several replicas, with and without a shared cache: the same Zipf traffic, spread at random over 1,
 * 2, 4 and 8 replicas, and a real redis-server. For comparison the fewest calls that one cache could make with that
 * traffic, and what the shared cache adds to a miss and to a hit.
 *
 * In real time, because Redis uses its own clock. Usage: npm run build && node bench/replicas.mjs
 */
import { setTimeout as wait } from 'node:timers/promises'
import { decodeAvailability } from '../dist/availability/decode.js'
import { Cache } from '../dist/cache/cache.js'
import { ttlFactor } from '../dist/cache/freshness.js'
import { systemClock } from '../dist/lib/clock.js'
import { LocalQuota } from '../dist/upstream/state/quota-ledger.js'
import { withPolicies } from '../dist/upstream/policies.js'
import { SharedQuota } from '../dist/upstream/state/shared-quota.js'
import { open, startRedis } from './lib/redis.mjs'
import { randomNumbers, stationBody, zipf } from './lib/stations.mjs'

const STATIONS = 500
const PER_SECOND = Number(process.env.RATE ?? 400)
const SECONDS = Number(process.env.SECONDS ?? 20)
const TTL_MS = 3_000
const UPSTREAM_MS = 60
const FLEETS = [1, 2, 4, 8]
const MISSES = 1_000
const HITS = 1_000_000
const SILENT = new Proxy({}, { get: () => () => {} })

/** Times in ms and stations: a Poisson process, the same in every run. */
function traffic(seed) {
  const random = randomNumbers(seed)
  const draw = zipf(random, STATIONS)
  const requests = []
  for (let at = 0; ;) {
    at += (-Math.log(1 - random()) / PER_SECOND) * 1_000
    if (at >= SECONDS * 1_000) return requests
    requests.push({ at, id: `station-${draw()}` })
  }
}

/** The calls of one cache without latency: one at the first request after the last answer became stale. */
function leastCalls(requests) {
  const random = randomNumbers(3)
  const freshUntil = new Map()
  let calls = 0
  for (const { at, id } of requests) {
    if (at < (freshUntil.get(id) ?? 0)) continue
    freshUntil.set(id, at + TTL_MS * ttlFactor(random()))
    calls++
  }
  return calls
}

/** The source with all policies, and limits so wide that no call is delayed. */
function limited(stores, source) {
  const limit = { limit: 1e9, per: 'month' }
  const deps = { clock: systemClock, observer: SILENT, apiKey: () => 'key', random: Math.random }
  const ledger = stores
    ? new SharedQuota(limit, { store: stores.quota, clock: systemClock, share: 1 })
    : new LocalQuota(limit, systemClock)
  const quota = { ledger, pacing: { isRationing: () => false } }
  const options = { perSecond: 100_000, queueTimeoutMs: 1_000, timeoutMs: 3_000 }
  return withPolicies(options, { ...deps, stores, source, quota }).source
}

function cacheOn(stores, upstream) {
  const load = limited(stores, upstream)
  const options = {
    ttlMs: TTL_MS,
    emptyTtlMs: TTL_MS,
    staleWhileRevalidateMs: 30_000,
    staleIfErrorMs: 60_000,
    softTimeoutMs: 800,
    flightTimeoutMs: 4_000,
    maxEntries: 100_000,
    maxBytes: 2 ** 28,
  }
  return new Cache(options, {
    load,
    clock: systemClock,
    random: Math.random,
    pacing: null,
    observer: SILENT,
    shared: stores && { store: stores.answers, observer: SILENT },
  })
}

const load = async (id) => decodeAvailability(stationBody(id), id)

/** Runs the traffic on that many replicas. @returns upstream calls, and commands sent to Redis */
async function run(replicas, requests, redis) {
  if (redis) await redis.command('FLUSHALL')
  let calls = 0
  const counted = async (id) => {
    calls++
    await wait(UPSTREAM_MS)
    return load(id)
  }
  const stores = redis ? await Promise.all(Array.from({ length: replicas }, () => open(redis.url))) : []
  const caches = Array.from({ length: replicas }, (_, i) => cacheOn(stores[i] ?? null, counted))
  const random = randomNumbers(5)
  const before = redis ? await redis.commands() : 0
  const startedAt = performance.now()
  for (const { at, id } of requests) {
    const early = at - (performance.now() - startedAt)
    if (early > 1) await wait(early)
    void caches[Math.floor(random() * replicas)].get(id)
  }
  await wait(1_000)
  const commands = redis ? (await redis.commands()) - before : 0
  for (const { close } of stores) close()
  return { calls, commands }
}

/** Durations of misses in ms, one after the other, while upstream answers at once; both kinds in turn. */
async function missTimes(redis) {
  const stores = await open(redis.url)
  const [alone, shared] = [cacheOn(null, load), cacheOn(stores, load)]
  const times = { alone: [], shared: [] }
  for (let i = 0; i < MISSES; i++) {
    for (const [name, cache] of Object.entries({ alone, shared })) {
      const startedAt = performance.now()
      await cache.get(`cold-${i}`)
      times[name].push(performance.now() - startedAt)
    }
  }
  const other = await open(redis.url)
  const warm = cacheOn(other, load)
  times.adopted = []
  for (let i = 0; i < MISSES; i++) {
    const startedAt = performance.now()
    await warm.get(`cold-${i}`)
    times.adopted.push(performance.now() - startedAt)
  }
  const hits = { alone: hitNs(alone), shared: hitNs(shared) }
  for (let i = 0; i < 9; i++) {
    hits.alone = Math.min(hits.alone, hitNs(alone))
    hits.shared = Math.min(hits.shared, hitNs(shared))
  }
  stores.close()
  other.close()
  return { times, hits }
}

function hitNs(cache) {
  const id = `cold-${MISSES - 1}`
  const startedAt = performance.now()
  for (let i = 0; i < HITS; i++) cache.get(id)
  return ((performance.now() - startedAt) / HITS) * 1e6
}

function quantile(times, part) {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * part)].toFixed(2)
}

const redis = await startRedis()
const requests = traffic(1)
const least = leastCalls(requests)
console.log(
  `${requests.length} requests in ${SECONDS} s for ${STATIONS} stations, TTL ${TTL_MS / 1000} s; one cache: at least ${least} calls\n`,
)
console.log(
  '| replicas | calls alone | calls shared | shared / least | shared / one replica | commands a second |',
)
console.log('| --- | --- | --- | --- | --- | --- |')
let one = null
for (const replicas of FLEETS) {
  const alone = await run(replicas, requests, null)
  const shared = await run(replicas, requests, redis)
  one ??= shared.calls
  const ratios = [shared.calls / least, shared.calls / one].map((ratio) => ratio.toFixed(3))
  const perSecond = Math.round(shared.commands / SECONDS)
  console.log(`| ${[replicas, alone.calls, shared.calls, ...ratios, perSecond].join(' | ')} |`)
}
const { times, hits } = await missTimes(redis)
console.log('\n| | p50 ms | p99 ms |\n| --- | --- | --- |')
for (const [name, label] of [
  ['alone', 'miss, no shared cache'],
  ['shared', 'miss: lease, cool-down, token, quota'],
  ['adopted', 'answer of another replica'],
]) {
  console.log(`| ${label} | ${quantile(times[name], 0.5)} | ${quantile(times[name], 0.99)} |`)
}
console.log(
  `\nhit in memory: ${hits.alone.toFixed(0)} ns alone, ${hits.shared.toFixed(0)} ns with a shared cache`,
)
redis.stop()
process.exit()
