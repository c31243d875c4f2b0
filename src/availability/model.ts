/**
 * One station's availability as upstream sends it. Undocumented members are kept, hence the index signatures. Names,
 * order and units are those of the endpoint's reference.
 */
export interface Availability {
  readonly chargingAvailability: string
  readonly connectors: readonly Connector[]
  readonly [member: string]: unknown
}

export interface Connector {
  /** A documented connector type, or one that upstream has added since. */
  readonly type: string
  /** Number of charging points of this type. */
  readonly total?: unknown
  readonly availability: ConnectorAvailability
  readonly [member: string]: unknown
}

export interface ConnectorAvailability {
  /** Counts by state: an object with the members of COUNTS. */
  readonly current?: unknown
  /** Rows by power: `{ powerKW, ...counts }`; any other value counts as empty. */
  readonly perPowerLevel?: unknown
  readonly [member: string]: unknown
}

/** The extension of the path. */
export type Format = 'json' | 'xml'

/** The states of a charging point, in the order of the reference. */
export const COUNTS = ['available', 'occupied', 'reserved', 'unknown', 'outOfService'] as const

/** The perPowerLevel rows of a connector, which are objects; empty unless upstream sent an array. */
export function rowsOf(connector: Connector): readonly object[] {
  const rows = connector.availability.perPowerLevel
  return Array.isArray(rows) ? rows.filter(isObject) : []
}

/** Not `1e999`, which JSON.parse takes for Infinity and JSON.stringify writes as null. */
export function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

/** A row's power in kW; NaN, which is inside no range, unless it is a number. */
export function powerOf(row: unknown): number {
  const power = isObject(row) ? row['powerKW'] : undefined
  return isNumber(power) ? power : Number.NaN
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
