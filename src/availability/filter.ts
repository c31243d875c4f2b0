import type { Availability, Connector } from './model.ts'
import { COUNTS, isObject, powerOf, rowsOf } from './model.ts'
import type { Filter } from './query.ts'

/**
 * The answer with only what the filter keeps; the argument itself when there is nothing to filter.
 *
 * The reference says "restrict the result to the availability for connectors with …" and shows no filtered
 * answer, so counting `current` and `total` again from the rows that stay is our reading of it.
 */
export function filterAvailability(availability: Availability, filter: Filter): Availability {
  if (isUnfiltered(filter)) return availability
  const connectors = availability.connectors.flatMap((connector) => filterConnector(connector, filter))
  return { ...availability, connectors }
}

/** What a filter looks at, and no more: each connector's type and the powers of its rows, in kW. */
export type FilterIndex = readonly { readonly type: string; readonly powers: readonly number[] }[]

export function indexOf(availability: Availability): FilterIndex {
  return availability.connectors.map((connector) => ({
    type: connector.type,
    powers: rowsOf(connector).map(powerOf),
  }))
}

/** The answer as it came. */
export const UNFILTERED = ''

/**
 * What survives the filter, as a short text: equal for two filters only if both give the same answer for this
 * station. A power bound makes the counts be made again, and so differs from none even if no row falls.
 */
export function variantKey(outline: FilterIndex, filter: Filter): string {
  if (isUnfiltered(filter)) return UNFILTERED
  const bounded = isBounded(filter)
  let kept = ''
  let whole = !bounded
  for (const { type, powers } of outline) {
    const rows = !keepsType(filter, type) ? '' : bounded ? keptRows(filter, powers) : '+'
    kept += rows === '' ? '-' : rows
    whole &&= rows !== ''
  }
  return whole ? UNFILTERED : kept
}

/** A digit a row, 1 for those that stay; empty when none does. */
function keptRows(filter: Filter, powers: readonly number[]): string {
  let rows = ''
  for (const power of powers) rows += keepsPower(filter, power) ? '1' : '0'
  return rows.includes('1') ? rows : ''
}

function filterConnector(connector: Connector, filter: Filter): Connector[] {
  if (!keepsType(filter, connector.type)) return []
  if (!isBounded(filter)) return [connector]
  const rows = rowsOf(connector).filter((row) => keepsPower(filter, powerOf(row)))
  return rows.length === 0 ? [] : [recount(connector, rows)]
}

/** The connector with these rows alone, `current` and `total` counted again from them. */
function recount(connector: Connector, rows: readonly unknown[]): Connector {
  const counts = COUNTS.map(
    (name) => [name, rows.reduce<number>((sum, row) => sum + countOf(row, name), 0)] as const,
  )
  const total = counts.reduce((sum, [, count]) => sum + count, 0)
  const { current } = connector.availability
  return {
    ...connector,
    total,
    availability: {
      ...connector.availability,
      current: { ...(isObject(current) ? current : {}), ...Object.fromEntries(counts) },
      perPowerLevel: rows,
    },
  }
}

/** A missing or non-numeric count counts as 0. */
function countOf(row: unknown, name: string): number {
  const count = isObject(row) ? row[name] : undefined
  return typeof count === 'number' && Number.isFinite(count) ? count : 0
}

/** Whether the filter keeps everything whatever the station. */
export function isUnfiltered(filter: Filter): boolean {
  return filter.types === null && !isBounded(filter)
}

function isBounded(filter: Filter): boolean {
  return filter.minPowerKW !== null || filter.maxPowerKW !== null
}

function keepsType(filter: Filter, type: string): boolean {
  return filter.types === null || filter.types.has(type)
}

function keepsPower(filter: Filter, power: number): boolean {
  return (
    power >= (filter.minPowerKW ?? Number.NEGATIVE_INFINITY) &&
    power <= (filter.maxPowerKW ?? Number.POSITIVE_INFINITY)
  )
}
