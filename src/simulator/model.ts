/** Members that the reference does not name are kept as they are. */
type Open = Readonly<Record<string, unknown>>

/** The states of a charging point, in the order of the reference. */
export const COUNTS = ['available', 'occupied', 'reserved', 'unknown', 'outOfService'] as const
export type Count = (typeof COUNTS)[number]

/** One row: the charging points of one power. */
export interface PowerLevel extends Open {
  /** In kW. */
  readonly powerKW: number
}

export interface Connector extends Open {
  readonly type: string
  readonly availability: Open & { readonly current?: Open; readonly perPowerLevel?: readonly PowerLevel[] }
}

/** The body of a 200. Generated ones have every documented member; ones from a test need not. */
export interface StationBody extends Open {
  readonly connectors: readonly Connector[]
  readonly chargingAvailability: string
}

/** Returns a station, or null for an unknown id. */
export type Stations = (id: string) => StationBody | null

/** The extension of the path. */
export type Format = 'json' | 'xml'
