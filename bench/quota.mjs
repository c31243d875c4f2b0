/**
 * A day of traffic on a virtual clock, to see what a quota costs: how old the answers are that people get, and how
 * many get none. Zipf over 1,000 stations, one request a second on average, with a day and a night.
 *
 * Compared: pacing, the same service without it (fixed TTL until the quota is spent), and the best fixed TTL that
 * somebody could have chosen who knew the day beforehand. Usage: npm run bench:quota
 */
import { Cache } from '../dist/cache/cache.js'
import { ServiceError } from '../dist/errors.js'
import { LocalQuota } from '../dist/upstream/state/quota-ledger.js'
import { createPacer } from '../dist/upstream/pacing/pacer.js'
import { QuotaPolicy } from '../dist/upstream/policies/quota.js'
import { randomNumbers, STATIONS, zipf } from './lib/stations.mjs'

const DAY = 86_400_000
const HOUR = 3_600_000
const TTL = 30_000
const MAX_TTL = 6 * HOUR
const QUOTAS = (process.env.Q ?? '2500 10000 50000').split(' ').map(Number)

/** Requests as [time in ms, station]: a Poisson process whose rate swings between 0.2 and 1.8 a second. */
function traffic(seed, days) {
  const random = randomNumbers(seed)
  const draw = zipf(random)
  const requests = []
  for (let at = 0; ;) {
    at += (-Math.log(1 - random()) / 1.8) * 1_000
    if (at >= DAY * days) return requests
    const rate = 1 - 0.8 * Math.cos((2 * Math.PI * (at - 4 * HOUR)) / DAY) // least at four in the morning
    if (random() * 1.8 > rate) continue
    requests.push([at, `station-${draw()}`])
  }
}

/** The day through the real cache, with an upstream that answers at once. */
async function liveThrough(requests, { limit, paced, ttlMs }) {
  const start = Date.UTC(2026, 0, 15)
  let now = 0
  const clock = { now: () => now, wall: () => start + now, after: () => () => {} }
  const random = randomNumbers(7)
  let calls = 0
  const upstream = async (id) => {
    calls++
    return { connectors: [{ type: 'A', availability: {} }], chargingAvailability: id }
  }
  const ledger = new LocalQuota({ limit, per: 'day' }, clock)
  const pacing = createPacer({ ttlMs, maxTtlMs: MAX_TTL }, { ledger, usage: () => cache, clock })
  const source = paced
    ? new QuotaPolicy({ ledger, pacing, observer: { quotaSpent() {} } }).policy(upstream)
    : spendUntilGone(upstream, limit, clock)
  const options = {
    ttlMs,
    emptyTtlMs: 60_000,
    staleWhileRevalidateMs: 30_000,
    staleIfErrorMs: 300_000,
    softTimeoutMs: 800,
    flightTimeoutMs: 4_000,
    maxEntries: 100_000,
    maxBytes: 2 ** 28,
  }
  const effectiveTtlMs = paced ? pacing.ttlMs : () => ttlMs
  const cache = new Cache(options, {
    load: source,
    observer: { lookedUp() {}, evicted() {} },
    clock,
    random,
    effectiveTtlMs,
  })

  const days = []
  for (const [at, id] of requests) {
    now = at
    const day = (days[Math.floor(at / DAY)] ??= {
      requests: 0,
      ages: [],
      refused: 0,
      calls: 0,
      rough: new Set(),
    })
    const before = calls
    day.requests++
    try {
      day.ages.push((await cache.get(id)).ageMs)
    } catch {
      day.refused++
      day.rough.add(Math.floor(at / HOUR))
    }
    await Promise.resolve()
    day.calls += calls - before
  }
  return days
}

function spendUntilGone(inner, limit, clock) {
  const spent = []
  return async (id, call) => {
    const day = Math.floor(clock.wall() / DAY)
    spent[day] ??= 0
    if (spent[day] >= limit) throw new ServiceError('QuotaExhausted')
    spent[day]++
    return inner(id, call)
  }
}

/** The shortest fixed TTL with which the quota lasts the last day, found by halving. */
async function bestFixedTtl(requests, limit) {
  let [tooShort, enough] = [TTL / 2, DAY]
  while (enough / tooShort > 1.01) {
    const middle = Math.sqrt(tooShort * enough)
    const days = await liveThrough(requests, { limit: Number.POSITIVE_INFINITY, paced: false, ttlMs: middle })
    if (days.at(-1).calls <= limit) enough = middle
    else tooShort = middle
  }
  return Math.max(TTL, enough)
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length
const quantile = (values, q) => values.toSorted((a, b) => a - b)[Math.floor(values.length * q)]
const seconds = (ms) => `${Math.round(ms / 1_000)} s`
const percent = (part) => `${(part * 100).toFixed(1)} %`

function row(limit, policy, { requests, ages, refused, calls, rough }) {
  const refusedShare = percent(refused / requests)
  return [
    limit,
    policy,
    calls,
    refusedShare,
    24 - rough.size,
    seconds(mean(ages)),
    seconds(quantile(ages, 0.99)),
  ]
}

const seed = Number(process.argv[2] ?? 1)
console.log(
  `Zipf over ${STATIONS} stations, one request a second, CACHE_TTL=30s, CACHE_MAX_TTL=6h, seed ${seed}\n`,
)
console.log('| quota a day | policy | calls | refused | hours without a refusal | mean age | p99 age |')
console.log('| --- | --- | --- | --- | --- | --- | --- |')
const print = (...cells) => console.log(`| ${row(...cells).join(' | ')} |`)
for (const limit of QUOTAS) {
  const requests = traffic(seed, 2)
  const paced = await liveThrough(requests, { limit, paced: true, ttlMs: TTL })
  print(limit, 'paced, first day: nothing known of it', paced[0])
  print(limit, 'paced, second day', paced[1])
  print(limit, 'no pacing', (await liveThrough(requests, { limit, paced: false, ttlMs: TTL })).at(-1))
  const fixed = await bestFixedTtl(requests, limit)
  const best = (await liveThrough(requests, { limit, paced: false, ttlMs: fixed })).at(-1)
  print(limit, `best fixed TTL, with hindsight: ${seconds(fixed)}`, best)
}
