/**
 * One station's availability, as upstream tells it. Members that we do not know are kept, so every
 * object is open; names, order and units are those of the endpoint's reference.
 */
export interface Availability {
  readonly chargingAvailability: string
  readonly connectors: readonly Connector[]
  readonly [member: string]: unknown
}

export interface Connector {
  /** One of the documented connector types, or one that upstream has added since. */
  readonly type: string
  /** Number of charging points of this type. */
  readonly total?: unknown
  readonly availability: ConnectorAvailability
  readonly [member: string]: unknown
}

export interface ConnectorAvailability {
  /** Counts by state: an object with the members of COUNTS. */
  readonly current?: unknown
  /** Rows by power: `{ powerKW, ...counts }`; anything but an array counts as empty. */
  readonly perPowerLevel?: unknown
  readonly [member: string]: unknown
}

/** What a client can ask for by the path's ending. */
export type Format = 'json' | 'xml'

/** The states in which a charging point can be, in the order of the reference. */
export const COUNTS = ['available', 'occupied', 'reserved', 'unknown', 'outOfService'] as const

/** The perPowerLevel rows of a connector; none when upstream sent no array. */
export function rowsOf(connector: Connector): readonly unknown[] {
  const rows = connector.availability.perPowerLevel
  return Array.isArray(rows) ? rows : []
}

/** A row's power in kW, or NaN where there is no number: NaN lies inside no range. */
export function powerOf(row: unknown): number {
  const power = isObject(row) ? row['powerKW'] : undefined
  return typeof power === 'number' ? power : Number.NaN
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
