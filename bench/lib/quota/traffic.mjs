/**
 * The requests of the quota benchmark: a Poisson process, one request a second on average, 0.2 at four in the morning and
 * 1.8 at four in the afternoon, over stations by Zipf's law. A scenario changes the popularity or adds requests.
 */
import { randomNumbers } from '../stations.mjs'

const DAY = 86_400_000
const HOUR = 3_600_000
const MEAN_PER_MS = 1 / 1_000

/** Demand at a moment in units of the mean. */
const swing = (at) => 1 - 0.8 * Math.cos((2 * Math.PI * (at - 4 * HOUR)) / DAY)

/**
 * Extra requests: `{ perMs, from, to, station, isCounted }`; `station` is a number or a function of a running number.
 * Negative numbers are made-up ids. Requests that are not counted are no part of the figures.
 *
 * `{ at, station, isCounted, ratePerMs(station, at) }`, the first three being arrays of equal length.
 */
export function createTraffic({ stations = 1_000, days, seed = 1, shuffledDaily = false, extras = [] }) {
  const random = randomNumbers(seed * 104_729 + 1)
  const { drawRank, shareOfRank } = zipf(stations, random)
  const orders = Array.from({ length: days }, (_, day) =>
    shuffledDaily && day > 0 ? shuffled(stations, random) : identity(stations),
  )
  const requests = []
  for (let at = 0; ;) {
    at += -Math.log(1 - random()) / 1.8 / MEAN_PER_MS
    if (at >= DAY * days) break
    if (random() * 1.8 > swing(at)) continue
    requests.push([at, orders[Math.floor(at / DAY)].stationOf[drawRank()], true])
  }
  for (const extra of extras) addTo(requests, extra, random)
  if (extras.length > 0) requests.sort(([a], [b]) => a - b)
  return {
    at: Float64Array.from(requests, ([at]) => at),
    station: Int32Array.from(requests, ([, station]) => station),
    isCounted: Uint8Array.from(requests, ([, , isCounted]) => (isCounted ? 1 : 0)),
    ratePerMs(station, at) {
      const rank = orders[Math.floor(at / DAY)].rankOf[station]
      let rate = swing(at) * MEAN_PER_MS * shareOfRank[rank]
      for (const { perMs, from, to, station: asked } of extras) {
        if (asked === station && at >= from && at < to) rate += perMs
      }
      return rate
    },
  }
}

function addTo(requests, { perMs, from, to, station, isCounted }, random) {
  let number = 0
  for (let at = from; ;) {
    at += -Math.log(1 - random()) / perMs
    if (at >= to) return
    requests.push([at, typeof station === 'function' ? station(number++) : station, isCounted])
  }
}

function zipf(stations, random) {
  const weights = Float64Array.from({ length: stations }, (_, rank) => 1 / (rank + 1))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const shareOfRank = weights.map((weight) => weight / total)
  let reached = 0
  const upTo = shareOfRank.map((share) => (reached += share))
  const drawRank = () => {
    const drawn = random()
    let [low, high] = [0, stations - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (drawn < upTo[middle]) high = middle
      else low = middle + 1
    }
    return low
  }
  return { drawRank, shareOfRank }
}

function identity(stations) {
  const order = Int32Array.from({ length: stations }, (_, i) => i)
  return { stationOf: order, rankOf: order }
}

function shuffled(stations, random) {
  const { stationOf } = identity(stations)
  for (let i = stations - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const other = stationOf[i]
    stationOf[i] = stationOf[j]
    stationOf[j] = other
  }
  const rankOf = new Int32Array(stations)
  for (const [rank, station] of stationOf.entries()) rankOf[station] = rank
  return { stationOf, rankOf }
}
