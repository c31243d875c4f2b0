/**
 * This build in the quota benchmark: the cache, the policies of the quota and of unknown ids, and pacing, all as the
 * service has them. Simulated are the clock, upstream, and the store that replicas share.
 */
import { Cache } from '../../../dist/cache/cache.js'
import { Price } from '../../../dist/upstream/pacing/price.js'
import { StationPacing } from '../../../dist/upstream/pacing/station-pacing.js'
import { UnknownIdAllowance } from '../../../dist/upstream/pacing/unknown-id-allowance.js'
import { withPolicies } from '../../../dist/upstream/policies.js'
import { LocalQuota } from '../../../dist/upstream/state/quota-ledger.js'
import { randomNumbers } from '../stations.mjs'
import { CACHE, virtualClock } from './settings.mjs'
import { createSharedAnswers } from './shared-answers.mjs'

/** `replicas` share the quota with its price and allowance, and the answers. */
export function createThisBuild({ world, limit, per = 'day', replicas = 1, seed = 7 }) {
  const clock = virtualClock()
  const random = randomNumbers(seed)
  const ledger = new LocalQuota({ limit, per }, clock)
  const allowance = new UnknownIdAllowance({ quota: ledger, clock })
  const upstream = createUpstream(world, clock)
  const isShared = replicas > 1
  const shared = {
    answers: isShared ? createSharedAnswers(clock) : null,
    price: isShared ? sharedPrice() : null,
  }
  const deps = { clock, random, ledger, allowance, source: upstream.source, shared }
  const fleet = Array.from({ length: replicas }, () => createReplica(deps))
  const choose = () => fleet[replicas === 1 ? 0 : Math.floor(random() * replicas)]
  return {
    serve(station, at) {
      clock.set(at)
      return choose().serve(idOf(station))
    },
    calls: upstream.calls,
    estimate: () => fleet[0].estimate(),
  }
}

function createReplica({ clock, random, ledger, allowance, source, shared }) {
  let cache = null
  const quota = { quota: ledger, clock, lookups: () => cache?.lookups ?? 0, shared: shared.price }
  const price = new Price(CACHE, quota)
  const pacing = new StationPacing(CACHE, { price, clock })
  const stack = withPolicies(
    { perSecond: 0, queueTimeoutMs: 1_000, timeoutMs: 3_000 },
    {
      source,
      quota: { ledger, pacing: price, allowance },
      apiKey: () => 'key',
      clock,
      observer: SILENT,
      random,
      stores: null,
    },
  )
  const store = shared.answers && { store: shared.answers, observer: SILENT }
  const deps = { load: stack.source, observer: SILENT, clock, random, pacing, shared: store }
  cache = new Cache(CACHE, deps)
  shared.answers?.onPublished((id, version) => cache.published(id, version, false))
  return {
    /** The age of the answer in ms, or NaN; a promise of it if anything happens in the background. */
    serve(id) {
      const found = lookUp(cache, id)
      if (typeof found === 'number' && cache.inFlightCalls === 0) return found
      return Promise.all([found, settled()]).then(([ageMs]) => ageMs)
    },
    estimate: () => pacing.estimatedCorrectRatio(),
  }
}

/** NaN for an error. */
function lookUp(cache, id) {
  try {
    const found = cache.get(id)
    if (!(found instanceof Promise)) return found.ageMs
    return found.then(
      ({ ageMs }) => ageMs,
      () => Number.NaN,
    )
  } catch {
    return Number.NaN
  }
}

/** Made-up ids are negative numbers: upstream answers without connectors. A station's answer has its state as a count. */
function createUpstream(world, clock) {
  let calls = 0
  const connector = (state) => ({
    type: 'IEC62196Type2Outlet',
    total: 255,
    availability: { current: { available: state }, perPowerLevel: [] },
  })
  const source = (id) => {
    calls++
    const station = Number(id)
    const connectors = station < 0 ? [] : [connector(world.at(station, clock.now()))]
    return Promise.resolve({ connectors, chargingAvailability: id })
  }
  return { source, calls: () => calls }
}

const ids = new Map()

function idOf(station) {
  let id = ids.get(station)
  if (id === undefined) ids.set(station, (id = String(station)))
  return id
}

function sharedPrice() {
  let latest = null
  return {
    latestThetaS: () => latest,
    publishTheta: (thetaS) => {
      latest = thetaS
    },
  }
}

/** Everything that needs no time has happened. */
function settled() {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

const SILENT = new Proxy({}, { get: () => () => {} })
