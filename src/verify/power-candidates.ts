import type { PowerFilter } from '../availability/filter.ts'
import { filterAvailability } from '../availability/filter.ts'
import type { Availability } from '../availability/model.ts'
import { powerOf, rowsOf } from '../availability/model.ts'
import type { Filter } from '../availability/query.ts'
import type { Reading } from './assumptions.ts'

/** The bounds of a power filter, in kW. */
export interface Bounds {
  readonly min: number | null
  readonly max: number | null
}

/** A station and bounds whose answers differ between what a check has to separate. */
export interface Candidate {
  readonly id: string
  readonly bounds: Bounds
}

export function queryOfBounds({ min, max }: Bounds): string {
  const parts = [
    ...(min === null ? [] : [`minPowerKW=${min}`]),
    ...(max === null ? [] : [`maxPowerKW=${max}`]),
  ]
  return parts.join('&')
}

/** The answer to a power bound under a reading. */
export function expectedUnder(reading: Reading, station: Availability, { min, max }: Bounds): Availability {
  if (reading === 'none') return station
  const filter: Filter = { types: null, minPowerKW: min, maxPowerKW: max }
  return filterAvailability(station, filter, reading satisfies PowerFilter)
}

/** How many different answers the readings give for a station and bounds. */
function answersOf(readings: readonly Reading[], station: Availability, bounds: Bounds): number {
  const answers = readings.map((reading) => JSON.stringify(sorted(expectedUnder(reading, station, bounds))))
  return new Set(answers).size
}

/** The candidate that separates the readings best; null if none separates any. */
export function bestCandidate(
  readings: readonly Reading[],
  stations: readonly Availability[],
  tried: readonly Candidate[],
): Candidate | null {
  let best: Candidate | null = null
  let mostAnswers = 1
  for (const station of stations) {
    for (const bounds of boundsBetween(station)) {
      const id = station.chargingAvailability
      const isTried = tried.some(
        (one) => one.id === id && queryOfBounds(one.bounds) === queryOfBounds(bounds),
      )
      const answers = isTried ? 0 : answersOf(readings, station, bounds)
      if (answers > mostAnswers) [best, mostAnswers] = [{ id, bounds }, answers]
    }
  }
  return best
}

/** Bounds between neighbouring powers, and outside of all: none is the power of a row. */
function boundsBetween(station: Availability): Bounds[] {
  const powers = powersOf(station)
  const between = powers.slice(1).map((power, at) => middle(powers[at] as number, power))
  const highest = powers.at(-1)
  return [
    ...between.flatMap((at) => [
      { min: at, max: null },
      { min: null, max: at },
    ]),
    ...(highest === undefined ? [] : [{ min: highest + 1, max: null }]),
  ]
}

/** Bounds around the middle of three powers, so that the lower, the upper and both give different answers. */
export function boundsAround(station: Availability, reading: Reading): Bounds | null {
  const powers = powersOf(station)
  for (let at = 1; at + 1 < powers.length; at++) {
    const [low, power, high] = powers.slice(at - 1, at + 2) as [number, number, number]
    const bounds = { min: middle(low, power), max: middle(power, high) }
    const all = [bounds, { ...bounds, max: null }, { ...bounds, min: null }]
    const answers = all.map((one) => JSON.stringify(sorted(expectedUnder(reading, station, one))))
    if (new Set(answers).size === all.length) return bounds
  }
  return null
}

/** The distinct powers of a station, ascending. */
export function powersOf({ connectors }: Availability): number[] {
  const powers = connectors
    .flatMap((one) => rowsOf(one).map(powerOf))
    .filter((power) => Number.isFinite(power))
  return [...new Set(powers)].toSorted((a, b) => a - b)
}

/** With two decimals where that is still between them. */
function middle(a: number, b: number): number {
  const rounded = Math.round(((a + b) / 2) * 100) / 100
  return rounded > a && rounded < b ? rounded : (a + b) / 2
}

/** Members in one order, so that equal answers have equal texts. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, member]) => [name, sorted(member)]),
  )
}
