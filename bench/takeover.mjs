/**
 * Two ways in which replicas learn of each other's answers, with a real redis-server: the message that pub/sub brings when
 * an answer is stored, and a version number that each lookup of a cached station reads. And neither, for comparison. Three
 * replicas with a TTL for each station, the same Zipf traffic; times are those of a real quota divided by about 100.
 *
 * In real time, because Redis uses its own clock. Usage: npm run bench:takeover [-- --seconds 20 --rate 150]
 */
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { decodeAvailability } from '../dist/availability/decode.js'
import { Cache } from '../dist/cache/cache.js'
import { systemClock } from '../dist/lib/clock.js'
import { answerKey } from '../dist/redis/keys.js'
import { StationPacing } from '../dist/upstream/pacing/station-pacing.js'
import { say } from './lib/options.mjs'
import { open, startRedis } from './lib/redis.mjs'
import { randomNumbers, stationBody, zipf } from './lib/stations.mjs'
import { quantile, table } from './lib/stats.mjs'

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '20' }, rate: { type: 'string', default: '150' } },
})
const [SECONDS, PER_SECOND] = [Number(values.seconds), Number(values.rate)]
const STATIONS = 100
const REPLICAS = 3
const MAX_RUNS = 10
const UPSTREAM_MS = 60
const THETA_S = 20
const OPTIONS = {
  ttlMs: 300,
  maxTtlMs: 60_000,
  emptyTtlMs: 60_000,
  staleWhileRevalidateMs: 300,
  staleIfErrorMs: 60_000,
  softTimeoutMs: 800,
  flightTimeoutMs: 4_000,
  maxEntries: 1_000,
  maxBytes: 2 ** 28,
}
/** Two copies are of one age if they differ by less: whole ms, on two clocks. */
const SAME_AGE_MS = 5
/** A header that begins with two times and thousandths, then the version. */
const HEADER_BYTES = 100

function traffic() {
  const random = randomNumbers(1)
  const draw = zipf(random, STATIONS)
  const requests = []
  for (let at = 0; ;) {
    at += (-Math.log(1 - random()) / PER_SECOND) * 1_000
    if (at >= SECONDS * 1_000) return requests
    requests.push({ at, id: `station-${draw()}`, replica: Math.floor(random() * REPLICAS) })
  }
}

async function createReplica(url, load, onOutage) {
  const stores = await open(url, onOutage)
  const pacing = new StationPacing(OPTIONS, { price: { thetaS: () => THETA_S }, clock: systemClock })
  const cache = new Cache(OPTIONS, {
    load,
    pacing,
    clock: systemClock,
    random: Math.random,
    observer: { lookedUp() {}, evicted() {}, answerStored() {} },
    shared: { store: stores.answers, observer: { sharedCacheLookedUp() {} } },
  })
  return { cache, stores }
}

/** What a lookup does before the cache is asked. */
const MECHANISMS = {
  neither: { start() {}, before: null },
  'pub/sub': {
    start: ({ cache, stores }) =>
      stores.answers.onPublished((id, version) => cache.published(id, version, false)),
    before: null,
  },
  'version on each lookup': {
    start() {},
    async before({ cache }, id, redis) {
      const entry = cache.store.peek(id)
      if (entry === null) return
      const header = await redis.command('GETRANGE', answerKey(id), 0, HEADER_BYTES)
      const version = header.split(' ')[3] ?? entry.version
      if (version === entry.version) return
      cache.published(id, version, false)
      for (let i = 0; i < 100 && cache.store.peek(id)?.version === entry.version; i++) await wait(1)
    },
  },
}

async function run(name, requests, redis) {
  await redis.command('FLUSHALL')
  let calls = 0
  const load = async (id) => {
    calls++
    await wait(UPSTREAM_MS)
    return decodeAvailability(stationBody(id), id)
  }
  let outages = 0
  const create = () => createReplica(redis.url, load, () => outages++)
  const fleet = await Promise.all(Array.from({ length: REPLICAS }, create))
  const { start, before } = MECHANISMS[name]
  for (const replica of fleet) start(replica)
  const seen = { answers: 0, older: 0, differences: [], hitMs: [] }
  const serve = async ({ id, replica }) => {
    const startedAt = performance.now()
    if (before !== null) await before(fleet[replica], id, redis)
    const { result, ageMs } = await fleet[replica].cache.get(id)
    if (result === 'hit') seen.hitMs.push(performance.now() - startedAt)
    const ages = fleet.flatMap(({ cache }) => cache.peek(id)?.ageMs ?? [])
    const difference = Math.max(0, ageMs - Math.min(...ages))
    seen.answers++
    if (difference >= SAME_AGE_MS) seen.older++
    seen.differences.push(difference)
  }
  const [commandsBefore, startedAt] = [await redis.commands(), performance.now()]
  const served = []
  for (const request of requests) {
    const early = request.at - (performance.now() - startedAt)
    if (early > 1) await wait(early)
    served.push(serve(request))
  }
  await Promise.all(served)
  const commands = (await redis.commands()) - commandsBefore
  for (const { stores } of fleet) stores.close()
  return { name, calls, commands, outages, ...seen }
}

/** A run in which Redis could not be reached measures the outage: on a busy machine another one may be without. */
async function undisturbed(name, requests, redis) {
  for (let i = 0; i < MAX_RUNS; i++) {
    const result = await run(name, requests, redis)
    if (result.outages === 0) return result
  }
  throw new Error(`Redis could not be reached in ${MAX_RUNS} runs: the machine is too busy`)
}

const redis = await startRedis()
const requests = traffic()
say(`${requests.length} requests in ${SECONDS} s for ${STATIONS} stations on ${REPLICAS} replicas`)
const rows = []
for (const name of Object.keys(MECHANISMS)) {
  say(name)
  const { calls, commands, answers, older, differences, hitMs } = await undisturbed(name, requests, redis)
  const mean = differences.reduce((sum, ms) => sum + ms, 0) / answers
  rows.push([
    name,
    String(calls),
    (commands / answers).toFixed(2),
    `${mean.toFixed(1)} ms`,
    `${((older / answers) * 100).toFixed(1)} %`,
    ...[0.5, 0.99].map((part) => `${quantile(hitMs, part).toFixed(2)} ms`),
  ])
}
const HEAD = [
  '',
  'calls',
  'commands per request',
  'mean age above the youngest copy',
  'older than another replica',
]
console.log(table([...HEAD, 'hit p50', 'hit p99'], rows))
redis.stop()
process.exit()
