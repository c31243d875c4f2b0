import type { Availability, Connector } from './model.ts'
import { COUNTS, isObject, powerOf, rowsOf } from './model.ts'
import type { Filter } from './query.ts'

/**
 * The answer without what the filter removes; the argument itself without a filter.
 *
 * The reference's words are "restrict the result to the availability for connectors with …", and it shows no filtered
 * answer. Interpretation: a power bound keeps the rows within the range, recomputes `current` and `total` from them, and
 * removes connectors without rows.
 */
export function filterAvailability(availability: Availability, filter: Filter): Availability {
  if (isUnfiltered(filter)) return availability
  const connectors = availability.connectors.flatMap((connector) => filterConnector(connector, filter))
  return { ...availability, connectors }
}

/** The part of an answer that filters depend on: each connector's type and the powers of its rows, in kW. */
export type FilterIndex = readonly { readonly type: string; readonly powers: readonly number[] }[]

export function indexOf(availability: Availability): FilterIndex {
  return availability.connectors.map((connector) => ({
    type: connector.type,
    powers: rowsOf(connector).map(powerOf),
  }))
}

/** The variant key of the unfiltered answer. */
export const UNFILTERED = ''

/**
 * A short text for the result of the filter: two filters have the same key only if they give the same answer for this
 * station. Per connector `-` if it is removed, `+` if it is kept whole, or a digit per row, 1 if the row is kept. A power
 * bound recomputes the counts, so its key differs from UNFILTERED even if it keeps every row.
 * @example
 * const index = [{ type: 'CCS', powers: [50, 150] }, { type: 'Type2', powers: [22] }]
 * variantKey(index, { types: null, minPowerKW: 100, maxPowerKW: null }) // '01-'
 * variantKey(index, { types: new Set(['Type2']), minPowerKW: null, maxPowerKW: null }) // '-+'
 * variantKey(index, { types: new Set(['CCS', 'Type2']), minPowerKW: null, maxPowerKW: null }) // UNFILTERED
 */
export function variantKey(index: FilterIndex, filter: Filter): string {
  if (isUnfiltered(filter)) return UNFILTERED
  const bounded = isBounded(filter)
  let key = ''
  let isWhole = !bounded
  for (const { type, powers } of index) {
    const rows = !keepsType(filter, type) ? '' : bounded ? keptRows(filter, powers) : '+'
    key += rows === '' ? '-' : rows
    isWhole &&= rows !== ''
  }
  return isWhole ? UNFILTERED : key
}

/** A digit per row, 1 if it is kept; empty if none is. */
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

/** The connector with only these rows, and `current` and `total` recomputed from them. */
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

/** Whether there is no filter at all. */
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
