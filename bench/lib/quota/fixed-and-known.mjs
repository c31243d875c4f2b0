/**
 * What hindsight can do: the best fixed TTL, and the two optima of a policy that knows every rate of request and of
 * change. Each has one number that is found by halving such that the quota is used in the days that count.
 */
import { MAX_TTL, TTL } from './settings.mjs'
import { differsAfter, SNAPSHOT_MS } from './world.mjs'

/** Calls when `isExpired(station, age, at)`; a made-up id has its own `EMPTY_TTL` and is not called for here. */
export function createByAge(isExpired) {
  const receivedAt = new Map()
  let calls = 0
  return {
    serve(station, at) {
      if (station < 0) return 0
      const age = at - (receivedAt.get(station) ?? Number.NEGATIVE_INFINITY)
      if (age <= TTL || (age <= MAX_TTL && !isExpired(station, age, at))) return age
      calls++
      receivedAt.set(station, at)
      return 0
    },
    calls: () => calls,
  }
}

/** One TTL for all, in ms. */
export const fixedTtl = () => (ttl) => createByAge((_station, age) => age > ttl)

/**
 * The least mean age: with L the rate of request, a call pays at age a once a + L a² / 2 reaches a constant that is the
 * same for all stations (in ms).
 */
export const leastAge =
  ({ traffic }) =>
  (theta) =>
    createByAge((station, age, at) => age + (traffic.ratePerMs(station, at) * age * age) / 2 >= theta)

/** Snapshots at which the chance of a difference is measured. */
const GRID = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 480]

/**
 * The fewest wrong answers: with p(a) the chance that the answer differs after a, a call pays once
 * (1 + L a) p(a) − L ∫p reaches the constant. Stations that change faster than they are asked for never reach it.
 */
export function fewestWrong({ world, traffic }) {
  const curves = world.states.map((states) => curveOf(states))
  return (theta) =>
    createByAge((station, age, at) => {
      const { p, integral } = curveAt(curves[station], age)
      const rate = traffic.ratePerMs(station, at)
      return (1 + rate * age) * p - rate * integral >= theta
    })
}

function curveOf(states) {
  const p = Float64Array.from(GRID, (snapshots) => (snapshots === 0 ? 0 : differsAfter(states, snapshots)))
  const integral = new Float64Array(GRID.length)
  for (let i = 1; i < GRID.length; i++) {
    integral[i] = integral[i - 1] + ((p[i - 1] + p[i]) / 2) * (GRID[i] - GRID[i - 1]) * SNAPSHOT_MS
  }
  return { p, integral }
}

function curveAt({ p, integral }, age) {
  const snapshots = age / SNAPSHOT_MS
  let i = 1
  while (i < GRID.length - 1 && GRID[i] < snapshots) i++
  const part = Math.min(1, (snapshots - GRID[i - 1]) / (GRID[i] - GRID[i - 1]))
  const here = p[i - 1] + (p[i] - p[i - 1]) * part
  const passed = part * (GRID[i] - GRID[i - 1]) * SNAPSHOT_MS
  return { p: here, integral: integral[i - 1] + ((p[i - 1] + here) / 2) * passed }
}

/** Calls on the days that count, without the figures: what halving needs of a run. */
function callsPerDay(policy, traffic, fromDay, days) {
  const from = fromDay * 86_400_000
  let before = 0
  for (let i = 0; i < traffic.at.length; i++) {
    if (traffic.at[i] < from) before = -1
    else if (before === -1) before = policy.calls()
    policy.serve(traffic.station[i], traffic.at[i])
  }
  return (policy.calls() - Math.max(0, before)) / (days - fromDay)
}

/** The policy with the smallest number whose calls a day do not exceed the limit. */
export function bestWithin({ create, limit, traffic, fromDay, days, range: [low, high] }) {
  const lasts = (value) => callsPerDay(create(value), traffic, fromDay, days) <= limit
  let [tooMany, enough] = [low, high]
  if (lasts(low)) enough = low
  while (enough / tooMany > 1.02) {
    const middle = Math.sqrt(tooMany * enough)
    if (lasts(middle)) enough = middle
    else tooMany = middle
  }
  return create(enough)
}
