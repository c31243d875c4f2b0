import type { Availability, Connector } from './model.ts'
import { COUNTS, isNumber, isObject, powerOf, rowsOf } from './model.ts'
import type { Filter } from './query.ts'

/**
 * What a power bound does to a connector; it always removes those without a row within the range. The reference's words
 * are "restrict the result to the availability for connectors with …", it shows no filtered answer, and each of these
 * fits:
 *
 * - `recount` keeps the rows within the range and recomputes `current` and `total` from them
 * - `levels` keeps the rows within the range and leaves `current` and `total` as they are
 * - `connectors` leaves the connector as it is
 */
export const POWER_FILTERS = ['recount', 'levels', 'connectors'] as const
export type PowerFilter = (typeof POWER_FILTERS)[number]

/** The answer without what the filter removes; the argument itself without a filter. */
export function filterAvailability(
  availability: Availability,
  filter: Filter,
  powerFilter: PowerFilter = 'recount',
): Availability {
  if (isUnfiltered(filter)) return availability
  const connectors = availability.connectors.flatMap((connector) =>
    filterConnector(connector, filter, powerFilter),
  )
  return { ...availability, connectors }
}

/**
 * The part of an answer that filters depend on: each connector's type and the powers of its rows, in kW. One NaN at the
 * end stands for all rows that are no objects, which a bound removes.
 */
export type FilterIndex = readonly { readonly type: string; readonly powers: readonly number[] }[]

export function indexOf(availability: Availability): FilterIndex {
  return availability.connectors.map((connector) => {
    const {
      type,
      availability: { perPowerLevel },
    } = connector
    const powers = rowsOf(connector).map(powerOf)
    if (Array.isArray(perPowerLevel) && perPowerLevel.length > powers.length) powers.push(Number.NaN)
    return { type, powers }
  })
}

/** Identifies the result of a filter for one station. A number takes a third of the time that a text takes. */
export type VariantKey = number | string

/** The variant key of the unfiltered answer. */
export const UNFILTERED = 0
/** Numbers up to here, doubled twice, are small integers of V8; a station with more rows than bits gets a text. */
const MAX_BITS = 2 ** 27

/**
 * Two filters have the same key only if they give the same answer for this station. In binary a 1, then a bit for each
 * row (for a connector without rows one bit), 1 if it is kept, and at the end 1 if counts are recomputed: under `recount`
 * the key of a power bound differs from UNFILTERED even if it keeps every row.
 * @example
 * const index = [{ type: 'CCS', powers: [50, 150] }, { type: 'Type2', powers: [22] }]
 * variantKey(index, { types: null, minPowerKW: 100, maxPowerKW: null }) // 0b1_01_0_1
 * variantKey(index, { types: new Set(['Type2']), minPowerKW: null, maxPowerKW: null }) // 0b1_00_1_0
 * variantKey(index, { types: new Set(['CCS', 'Type2']), minPowerKW: null, maxPowerKW: null }) // UNFILTERED
 */
export function variantKey(
  index: FilterIndex,
  filter: Filter,
  powerFilter: PowerFilter = 'recount',
): VariantKey {
  if (isUnfiltered(filter)) return UNFILTERED
  const isRowBound = isBounded(filter) && powerFilter !== 'connectors'
  const isWholeBound = isBounded(filter) && powerFilter === 'connectors'
  let [text, bits, keepsAny, keepsAll] = ['', 1, false, true]
  for (const { type, powers } of index) {
    const isKept = keepsType(filter, type) && (!isWholeBound || powers.some((kW) => keepsPower(filter, kW)))
    for (let row = 0; row < Math.max(1, powers.length); row++) {
      const keepsRow = isKept && (!isRowBound || keepsPower(filter, powers[row] as number))
      keepsAny ||= keepsRow
      keepsAll &&= keepsRow
      if (bits >= MAX_BITS) [text, bits] = [`${text}${bits},`, 1]
      bits = 2 * bits + (keepsRow ? 1 : 0)
    }
  }
  const recounts = keepsAny && isBounded(filter) && powerFilter === 'recount'
  if (keepsAll && !recounts) return UNFILTERED
  bits = 2 * bits + (recounts ? 1 : 0)
  return text === '' ? bits : text + bits
}

function filterConnector(connector: Connector, filter: Filter, powerFilter: PowerFilter): Connector[] {
  if (!keepsType(filter, connector.type)) return []
  if (!isBounded(filter)) return [connector]
  const rows = rowsOf(connector).filter((row) => keepsPower(filter, powerOf(row)))
  if (rows.length === 0) return []
  switch (powerFilter) {
    case 'recount':
      return [recount(connector, rows)]
    case 'levels':
      return [{ ...connector, availability: { ...connector.availability, perPowerLevel: rows } }]
    case 'connectors':
      return [connector]
  }
}

/** The connector with only these rows, and `current` and `total` recomputed from them. */
function recount(connector: Connector, rows: readonly unknown[]): Connector {
  const counts = statesOf(connector).map(
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

/**
 * The states that the connector counts: those of the reference, and each other number of `current` that a row has as
 * well. A number in rows alone is a property of the row, such as its phases, and not a state.
 */
function statesOf(connector: Connector): string[] {
  const { current } = connector.availability
  const others = Object.entries(isObject(current) ? current : {})
    .filter(([name, count]) => isNumber(count) && name !== 'powerKW')
    .map(([name]) => name)
    .filter((name) => !(COUNTS as readonly string[]).includes(name))
    .filter((name) => rowsOf(connector).some((row) => isObject(row) && isNumber(row[name])))
  return [...COUNTS, ...others]
}

/** A missing or non-numeric count counts as 0. */
function countOf(row: unknown, name: string): number {
  const count = isObject(row) ? row[name] : undefined
  return isNumber(count) ? count : 0
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
