/**
 * One TTL for all stations, stretched so that the quota lasts, as versions before 0.2 did: at a TTL of T a station in use
 * costs one call per T, the stations in use within T are counted, and the shortest T that can be afforded is in force.
 */
import { ttlFactor } from '../../../dist/cache/freshness.js'
import { DemandForecast } from '../../../dist/upstream/pacing/demand-forecast.js'
import { LocalQuota } from '../../../dist/upstream/state/quota-ledger.js'
import { randomNumbers } from '../stations.mjs'
import { EMPTY_TTL, MAX_TTL, STALE_IF_ERROR, STALE_WHILE_REVALIDATE, TTL, virtualClock } from './settings.mjs'

const UPDATE_INTERVAL = 5_000
const PLANNED_SHARE = 0.97
const CALLS_TO_LEARN = 100

export function createSingleTtl({ limit, per = 'day', seed = 7 }) {
  const clock = virtualClock()
  const random = randomNumbers(seed)
  const quota = new LocalQuota({ limit, per }, clock)
  /** Least recently used first. */
  const entries = new Map()
  const usage = { lookups: 0, calls: 0 }
  const pace = createPace({ quota, clock, entries, usage })

  const call = (station, at, held) => {
    if (quota.acquire(held !== undefined, pace.isRationing) > 0) return false
    usage.calls++
    entries.set(station, { receivedAt: at, usedAt: at, jitter: ttlFactor(random()) })
    return true
  }
  return {
    serve(station, at) {
      clock.set(at)
      usage.lookups++
      pace.update(at)
      const held = entries.get(station)
      if (held === undefined) return call(station, at) ? 0 : Number.NaN
      entries.delete(station)
      entries.set(station, held)
      held.usedAt = at
      const age = at - held.receivedAt
      const staleFor = age - (station < 0 ? EMPTY_TTL : pace.ttl) * held.jitter
      if (staleFor <= 0) return age
      if (staleFor <= STALE_WHILE_REVALIDATE) {
        call(station, at, held)
        return age
      }
      if (call(station, at, held)) return 0
      return staleFor <= STALE_IF_ERROR ? age : Number.NaN
    },
    calls: () => usage.calls,
  }
}

function createPace({ quota, clock, entries, usage }) {
  const demand = new DemandForecast(clock)
  const experience = { expected: 0, made: 0 }
  const pace = { ttl: TTL, isRationing: true, update }
  let [updatedAt, lookups, spent, expectedPerMs] = [0, 0, 0, 0]

  function update(now) {
    if (now - updatedAt < UPDATE_INTERVAL) return
    demand.record(usage.lookups - lookups)
    const made = quota.spent - spent
    if (made >= 0 && !pace.isRationing) {
      experience.expected += expectedPerMs * (now - updatedAt)
      experience.made += made
    }
    lookups = usage.lookups
    spent = quota.spent
    updatedAt = now
    choose(now)
  }

  function choose(now) {
    const since = sinceLastUse(entries, now)
    const correction = (experience.made + CALLS_TO_LEARN) / (experience.expected + CALLS_TO_LEARN)
    const hours = demand.expected(quota.resetAtMs)
    const affordable = (quota.remaining * PLANNED_SHARE) / correction
    const callsPerMs = (ttl, ratio) => countWithin(since, ttl * ratio) / ttl
    const lasts = (ttl) =>
      hours.reduce((sum, { ms, ratio }) => sum + ms * callsPerMs(ttl, ratio), 0) <= affordable
    pace.isRationing = since.length === 0 || !lasts(MAX_TTL)
    pace.ttl = pace.isRationing ? MAX_TTL : smallest(lasts)
    expectedPerMs = callsPerMs(pace.ttl, 1)
  }
  return pace
}

/** Ascending. */
function sinceLastUse(entries, now) {
  const since = new Float64Array(entries.size)
  let i = entries.size
  for (const { usedAt } of entries.values()) since[--i] = now - usedAt
  return since
}

function countWithin(since, ms) {
  let [low, high] = [0, since.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (since[middle] <= ms) low = middle + 1
    else high = middle
  }
  return low
}

function smallest(lasts) {
  if (lasts(TTL)) return TTL
  let [tooSmall, enough] = [TTL, MAX_TTL]
  while (enough / tooSmall > 1.01) {
    const middle = Math.sqrt(tooSmall * enough)
    if (lasts(middle)) enough = middle
    else tooSmall = middle
  }
  return enough
}
