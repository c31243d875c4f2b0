/**
 * The truth of the quota benchmark: stations whose availability changes as published figures of charging sessions let
 * expect. 2 to 12 charging points a station in one to three connector types; 0.3 to 8 sessions a point and day, arrivals
 * by the hour, stays of 0.4 to 3 hours (Erlang-2); the 15 % least used never change; busy stations are somewhat more
 * popular. Upstream publishes a snapshot every 180 s.
 */
import { randomNumbers } from '../stations.mjs'

export const SNAPSHOT_MS = 180_000
const DAY = 86_400_000
const HOUR = 3_600_000
const SNAPSHOTS_A_DAY = DAY / SNAPSHOT_MS
/** Arrivals by hour of the day, in units of the mean. */
const ARRIVALS = [
  0.2, 0.15, 0.1, 0.1, 0.15, 0.35, 0.7, 1.1, 1.3, 1.3, 1.35, 1.5, 1.6, 1.5, 1.45, 1.5, 1.65, 1.75, 1.6, 1.35,
  1.1, 0.8, 0.5, 0.3,
]
const MAX_ARRIVALS = Math.max(...ARRIVALS)
const UNCHANGING_SHARE = 0.15
const POPULARITY_CORRELATION = 0.6

/** `{ stations, days, states, at(station, ms) }`: two equal numbers mean that upstream gives the same answer. */
export function createWorld({ stations = 1_000, days, seed = 1 }) {
  const random = randomNumbers(seed * 7_919 + 13)
  const snapshots = days * SNAPSHOTS_A_DAY
  const states = ranked(stations, random).map((level) => history(level, snapshots, random))
  const at = (station, ms) => states[station][Math.floor(ms / SNAPSHOT_MS)]
  return { stations, days, states, at }
}

/** Levels of use, 0 to 1, by rank of popularity: popular stations are somewhat busier. */
function ranked(stations, random) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const rest = Math.sqrt(1 - POPULARITY_CORRELATION ** 2)
  const scores = Array.from({ length: stations }, (_, rank) => {
    const popularity = -Math.log((rank + 0.5) / stations) - 1 // by Zipf's law: mean 0, variance 1
    return { rank, score: POPULARITY_CORRELATION * popularity + rest * normal() }
  })
  const levels = []
  for (const [place, { rank }] of scores.toSorted((a, b) => a.score - b.score).entries()) {
    levels[rank] = (place + 0.5) / stations
  }
  return levels
}

/** A station's published state by snapshot; one number for the counts of all its connectors. */
function history(level, snapshots, random) {
  const states = new Uint8Array(snapshots)
  const points = 2 + Math.floor(random() * 11)
  const types = 1 + Math.floor(random() * 3)
  const sessionsPerDay = 0.3 * (8 / 0.3) ** ((level - UNCHANGING_SHARE) / (1 - UNCHANGING_SHARE))
  const stayMs = 0.4 * (3 / 0.4) ** random() * HOUR
  if (level < UNCHANGING_SHARE) return states
  const bases = Array.from({ length: types }, (_, type) => (Math.ceil(points / types) + 1) ** type)
  for (let point = 0; point < points; point++)
    occupy(states, bases[point % types], sessionsPerDay, stayMs, random)
  return states
}

/** One charging point: adds `base` to the state of every snapshot at which it is occupied. */
function occupy(states, base, sessionsPerDay, stayMs, random) {
  const end = states.length * SNAPSHOT_MS
  const exponential = (mean) => -Math.log(1 - random()) * mean
  const meanFreeMs = Math.max((0.1 * DAY) / sessionsPerDay, DAY / sessionsPerDay - stayMs)
  for (let at = exponential(meanFreeMs) * random(); at < end;) {
    at += exponential(meanFreeMs / MAX_ARRIVALS)
    if (random() * MAX_ARRIVALS > ARRIVALS[Math.floor(at / HOUR) % 24]) continue
    const until = at + exponential(stayMs / 2) + exponential(stayMs / 2)
    const last = Math.min(states.length, Math.ceil(until / SNAPSHOT_MS))
    for (let snapshot = Math.ceil(at / SNAPSHOT_MS); snapshot < last; snapshot++) states[snapshot] += base
    at = until
  }
}

/** The chance that a station's answer differs after some snapshots, from its whole history. */
export function differsAfter(states, snapshots) {
  const end = states.length - snapshots
  let different = 0
  for (let i = 0; i < end; i++) if (states[i] !== states[i + snapshots]) different++
  return end > 0 ? different / end : 0
}
