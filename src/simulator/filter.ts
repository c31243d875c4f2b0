import type { Deviations } from './deviations.ts'
import { NO_DEVIATIONS } from './deviations.ts'
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
export function applyFilter(
  station: StationBody,
  { types, minPowerKW, maxPowerKW }: Filter,
  deviations: Deviations = NO_DEVIATIONS,
): StationBody {
  let connectors = station.connectors
  if (types !== null && !deviations.has('connector-set-ignored')) {
    connectors = connectors.filter(({ type }) => hasType(types, type, deviations))
    if (deviations.has('connector-set-changes')) connectors = connectors.map(withoutRows)
  }
  if ((minPowerKW !== null || maxPowerKW !== null) && !deviations.has('power-none')) {
    const isWithin = rangeOf(minPowerKW, maxPowerKW, deviations)
    connectors = connectors
      .map((connector) => withinPowers(connector, isWithin, deviations))
      .filter((connector) => connector !== null)
  }
  return { ...station, connectors }
}

function hasType(types: ReadonlySet<string>, type: string, deviations: Deviations): boolean {
  if (!deviations.has('connector-set-any-case')) return types.has(type)
  return [...types].some((name) => name.toLowerCase() === type.toLowerCase())
}

function withoutRows(connector: Connector): Connector {
  return { ...connector, availability: { ...connector.availability, perPowerLevel: [] } }
}

function rangeOf(min: number | null, max: number | null, deviations: Deviations) {
  const low = min === null || (max !== null && deviations.has('power-max-only')) ? -Infinity : min
  const high = max ?? Infinity
  if (deviations.has('power-open')) return (powerKW: number) => powerKW > low && powerKW < high
  return (powerKW: number) => powerKW >= low && powerKW <= high
}

function withinPowers(
  connector: Connector,
  isWithin: (powerKW: number) => boolean,
  deviations: Deviations,
): Connector | null {
  const { availability } = connector
  const all = availability.perPowerLevel ?? []
  const rows = all.filter(({ powerKW }) => isWithin(powerKW))
  if (rows.length === 0) return null
  if (deviations.has('power-connectors')) return connector
  const { current = {} } = availability
  const counted = statesOf(current, all).map((name) => [name, pointsIn(rows, name)] as const)
  const recounted = { ...current, ...Object.fromEntries(counted) }
  const total = counted.reduce((sum, [, points]) => sum + points, 0)
  if (deviations.has('power-levels'))
    return { ...connector, availability: { ...availability, perPowerLevel: rows } }
  if (deviations.has('power-total')) return { ...connector, total }
  return { ...connector, total, availability: { ...availability, current: recounted, perPowerLevel: rows } }
}

/** The documented states, and other numbers that both the connector and a row have. */
function statesOf(current: Readonly<Record<string, unknown>>, rows: readonly PowerLevel[]): string[] {
  const states: string[] = [...COUNTS]
  for (const [name, count] of Object.entries(current)) {
    if (states.includes(name) || name === 'powerKW' || typeof count !== 'number') continue
    if (rows.some((row) => typeof row[name] === 'number')) states.push(name)
  }
  return states
}

/** A missing or non-numeric count adds nothing. */
function pointsIn(rows: readonly PowerLevel[], name: string): number {
  let sum = 0
  for (const { [name]: points } of rows) sum += typeof points === 'number' ? points : 0
  return sum
}
