import type { Connector, PowerLevel, StationBody } from './model.ts'
import { COUNTS } from './model.ts'

/** What a caller wants to see; an absent part restricts nothing. */
export interface Filter {
  /** Connector types, compared exactly; null when every type is wanted. */
  readonly types: ReadonlySet<string> | null
  /** Lowest and highest power in kW, both included; null when not given. */
  readonly minPowerKW: number | null
  readonly maxPowerKW: number | null
}

/**
 * The part of a station that a caller asked for. A power bound takes rows away, and `current` and `total` are
 * then counted again; a connector of which no row is left goes too, and one that never had rows with it.
 */
export function restrict(station: StationBody, filter: Filter): StationBody {
  const { types, minPowerKW, maxPowerKW } = filter
  let connectors = station.connectors
  if (types !== null) connectors = connectors.filter(({ type }) => types.has(type))
  if (minPowerKW !== null || maxPowerKW !== null) {
    const low = minPowerKW ?? -Infinity
    const high = maxPowerKW ?? Infinity
    connectors = connectors
      .map((connector) => withinPowers(connector, low, high))
      .filter((connector) => connector !== null)
  }
  return { ...station, connectors }
}

function withinPowers(connector: Connector, low: number, high: number): Connector | null {
  const { availability } = connector
  const rows = (availability.perPowerLevel ?? []).filter(({ powerKW }) => powerKW >= low && powerKW <= high)
  if (rows.length === 0) return null
  const counted = COUNTS.map((name) => [name, pointsIn(rows, name)] as const)
  const current = { ...availability.current, ...Object.fromEntries(counted) }
  const total = counted.reduce((sum, [, points]) => sum + points, 0)
  return { ...connector, total, availability: { ...availability, current, perPowerLevel: rows } }
}

/** A count that is missing or is no number adds nothing. */
function pointsIn(rows: readonly PowerLevel[], name: string): number {
  let sum = 0
  for (const { [name]: points } of rows) sum += typeof points === 'number' ? points : 0
  return sum
}
