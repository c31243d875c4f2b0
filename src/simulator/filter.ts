import type { Connector, PowerLevel, StationBody } from './model.ts'
import { COUNTS } from './model.ts'

/** Which connectors and rows to return; null restricts nothing. */
export interface Filter {
  /** Connector types, compared exactly; null for all types. */
  readonly types: ReadonlySet<string> | null
  /** Lowest and highest power in kW, both included; null without a bound. */
  readonly minPowerKW: number | null
  readonly maxPowerKW: number | null
}

/**
 * A power bound removes rows and recomputes `current` and `total`. Connectors without rows are then removed, also those
 * that had none before.
 */
export function applyFilter(station: StationBody, filter: Filter): StationBody {
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

/** A missing or non-numeric count adds nothing. */
function pointsIn(rows: readonly PowerLevel[], name: string): number {
  let sum = 0
  for (const { [name]: points } of rows) sum += typeof points === 'number' ? points : 0
  return sum
}
