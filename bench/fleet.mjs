/**
 * A fleet at a scale that no machine here can hold: 10 million stations, 10 to 1,000 replicas, on a virtual clock.
 *
 * A station's calls depend on nothing but its own requests, so a sample is enough: ranks spread evenly over the
 * logarithm of the popularity, each standing for its neighbours. For each, requests come to the replicas as Poisson
 * processes of their own, and only those matter that miss a memory: the first to a replica after its copy has had its
 * time. That is simulated, by the rules of the service: a copy is fresh for TTL x jitter (0.9 to 1, mostly near 1); a replica that
 * misses takes a fresh copy from the shared cache with what is left of its time, or else calls. Beside the calls stands
 * the formula that they should obey: a renewal process, 1 / (T + 1 / rate) a second for each cache that calls by
 * itself. Latency is nil, so the leases have nothing to do here: what they are for is measured by bench/replicas.mjs.
 *
 * Usage: npm run build && node bench/fleet.mjs
 */
import { ttlFactor } from '../dist/cache/freshness.js'
import { randomNumbers } from './lib/stations.mjs'

const STATIONS = 10_000_000
const REQUESTS_PER_SECOND = 100_000
const ZIPF = 0.9
const TTL_S = 30
const FLEETS = [1, 10, 100, 1_000]
const RANKS = 240
/** Lives of a copy that are lived through for each rank. */
const CYCLES = 4_000
/** A look, then as a rule a token, an account, two looks at refusals, and the publication. */
const COMMANDS_PER_CALL = 6
const MEAN_JITTER = 0.985

const random = randomNumbers(11)
const exponential = (mean) => -Math.log(1 - random()) * mean
const freshFor = () => TTL_S * ttlFactor(random())

/** Ranks, each with the number of stations that it stands for. */
function sample() {
  const bounds = Array.from({ length: RANKS + 1 }, (_, i) => Math.round(STATIONS ** (i / RANKS)))
  const distinct = [...new Set(bounds)]
  return distinct.slice(0, -1).map((from, i) => {
    const to = i === distinct.length - 2 ? STATIONS + 1 : distinct[i + 1]
    return { rank: Math.sqrt(from * Math.max(from, to - 1)), stations: to - from }
  })
}

/** One station's calls, alone and shared, and its looks into the shared tier, all a second. */
function live(rate, replicas) {
  const perReplica = rate / replicas
  return { alone: callsAlone(perReplica) * replicas, ...shared(perReplica, replicas) }
}

/** One cache by itself. */
function callsAlone(rate) {
  let now = 0
  for (let i = 0; i < CYCLES; i++) now += exponential(1 / rate) + freshFor()
  return CYCLES / now
}

/** All that have a copy lose it at the same moment, for they have the same one: the rest is counting. */
function shared(rate, replicas) {
  let [now, looks] = [0, 0]
  for (let i = 0; i < CYCLES; i++) {
    now += exponential(1 / (rate * replicas)) // the first request on any replica calls
    const fresh = freshFor()
    // Each of the others looks once, if a request comes to it while the copy is fresh.
    looks += 1 + binomial(replicas - 1, 1 - Math.exp(-rate * fresh))
    now += fresh
  }
  return { shared: CYCLES / now, looks: looks / now }
}

/** How many of so many come about; for many the normal distribution is close enough. */
function binomial(count, chance) {
  if (count > 50) {
    const spread = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
    return Math.max(0, Math.round(count * chance + Math.sqrt(count * chance * (1 - chance)) * spread))
  }
  let met = 0
  for (let i = 0; i < count; i++) if (random() < chance) met++
  return met
}

const strata = sample()
const weight = ({ rank, stations }) => stations * rank ** -ZIPF
const total = strata.reduce((sum, stratum) => sum + weight(stratum), 0)
const thousands = (number) => Math.round(number).toLocaleString('en')

console.log(
  `${thousands(STATIONS)} stations, ${thousands(REQUESTS_PER_SECOND)} requests a second, Zipf ${ZIPF}, TTL ${TTL_S} s\n`,
)
console.log(
  '| replicas | calls/s alone | by the formula | calls/s shared | by the formula | saved | looks/s | commands/s |',
)
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |')
for (const replicas of FLEETS) {
  const sum = { alone: 0, aloneFormula: 0, shared: 0, sharedFormula: 0, looks: 0 }
  for (const stratum of strata) {
    const rate = (REQUESTS_PER_SECOND * stratum.rank ** -ZIPF) / total
    const { alone, shared, looks } = live(rate, replicas)
    sum.alone += stratum.stations * alone
    sum.shared += stratum.stations * shared
    sum.looks += stratum.stations * looks
    sum.aloneFormula += (stratum.stations * replicas) / (TTL_S * MEAN_JITTER + replicas / rate)
    sum.sharedFormula += stratum.stations / (TTL_S * MEAN_JITTER + 1 / rate)
  }
  const commands = sum.looks + sum.shared * (COMMANDS_PER_CALL - 1)
  const figures = [sum.alone, sum.aloneFormula, sum.shared, sum.sharedFormula].map(thousands)
  const saved = `${Math.round((1 - sum.shared / sum.alone) * 100)} %`
  console.log(
    `| ${[thousands(replicas), ...figures, saved, thousands(sum.looks), thousands(commands)].join(' | ')} |`,
  )
}
