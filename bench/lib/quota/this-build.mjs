/** The TTL of each station as this build chooses it, driven without the rest of the service. */
import { Price } from '../../../dist/upstream/pacing/price.js'
import { StationPacing } from '../../../dist/upstream/pacing/station-pacing.js'
import { UnknownIdAllowance } from '../../../dist/upstream/pacing/unknown-id-allowance.js'
import { LocalQuota } from '../../../dist/upstream/state/quota-ledger.js'
import { ttlFactor } from '../../../dist/cache/jitter.js'
import { randomNumbers } from '../stations.mjs'
import { EMPTY_TTL, MAX_TTL, STALE_IF_ERROR, STALE_WHILE_REVALIDATE, TTL, virtualClock } from './settings.mjs'

/** Under a quota a stale answer is served while it is refreshed if it was served this often since its call. */
const SERVED_BEFORE_STALE = 10

/** `replicas` share the quota and, by telling each other of refreshes, the answers. */
export function createThisBuild({ world, limit, per = 'day', replicas = 1, seed = 7 }) {
  const clock = virtualClock()
  const random = randomNumbers(seed)
  const quota = new LocalQuota({ limit, per }, clock)
  const newest = new Map()
  let latestThetaS = null
  const sharedPrice = {
    latestThetaS: () => latestThetaS,
    publish: (thetaS) => {
      latestThetaS = thetaS
    },
  }
  const shared = replicas === 1 ? null : sharedPrice
  const upstream = { calls: 0, shared, quota, newest, world, clock, random }
  const fleet = Array.from({ length: replicas }, () => createReplica(upstream))
  const choose = () => fleet[replicas === 1 ? 0 : Math.floor(random() * replicas)]
  return {
    serve(station, at) {
      clock.set(at)
      return choose().serve(station, at)
    },
    calls: () => upstream.calls,
    estimate: (at) => fleet[0].estimate(at),
    thetaS: () => fleet[0].thetaS(),
  }
}

function createReplica(upstream) {
  const { shared, quota, newest, world, clock, random } = upstream
  let lookups = 0
  const options = { ttlMs: TTL, maxTtlMs: MAX_TTL }
  const price = new Price(options, { quota, clock, lookups: () => lookups, shared })
  const pacing = new StationPacing(options, { price, clock })
  const allowance = new UnknownIdAllowance(quota, clock)
  const entries = new Map()
  const empties = new Map()

  const put = (station, { receivedAt, state }, held) => {
    const replacement = held && { differs: state !== held.state, gapMs: receivedAt - held.receivedAt }
    const known = held === undefined ? pacing.first() : pacing.after(held.known, replacement)
    const entry = { receivedAt, state, known, jitter: ttlFactor(random()) }
    entries.set(station, entry)
    return entry
  }
  const call = (station, at, held) => {
    if (quota.acquire(held !== undefined, price.isRationing(at)) > 0) return null
    upstream.calls++
    const answer = { receivedAt: at, state: world.at(station, at) }
    newest.set(station, answer)
    return put(station, answer, held)
  }
  const served = (entry, at) => {
    const age = at - entry.receivedAt
    pacing.served(entry.known, age)
    return age
  }
  const called = (entry) => {
    if (entry === null) return Number.NaN
    pacing.waited(entry.known)
    return 0
  }
  const serveUnknown = (id, at) => {
    if (at - (empties.get(id) ?? Number.NEGATIVE_INFINITY) <= EMPTY_TTL) return 0
    if (allowance.waitMs() > 0 || quota.acquire(false, price.isRationing(at)) > 0) return Number.NaN
    upstream.calls++
    allowance.charge()
    empties.set(id, at)
    return 0
  }
  return {
    serve(station, at) {
      lookups++
      if (station < 0) return serveUnknown(station, at)
      let held = entries.get(station)
      const shared = newest.get(station)
      if (shared !== undefined && (held === undefined || shared.receivedAt > held.receivedAt)) {
        held = put(station, shared, held)
      }
      if (held === undefined)
        return allowance.waitMs() > 0 ? Number.NaN : called(call(station, at, undefined))
      const staleFor = at - held.receivedAt - held.jitter * pacing.ttlMs(held.known)
      if (staleFor <= 0) return served(held, at)
      if (staleFor <= STALE_WHILE_REVALIDATE && held.known.served >= SERVED_BEFORE_STALE) {
        const age = served(held, at)
        call(station, at, held)
        return age
      }
      const fresh = call(station, at, held)
      if (fresh !== null) return called(fresh)
      return at - held.receivedAt <= MAX_TTL + STALE_IF_ERROR ? served(held, at) : Number.NaN
    },
    estimate: () => pacing.estimatedCorrectRatio(),
    thetaS: () => price.thetaS(),
  }
}
