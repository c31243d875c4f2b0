/** Members that the reference does not name may be there too; the simulator carries them along. */
type Open = Readonly<Record<string, unknown>>

/** What a charging point can be, in the order in which the reference prints the counts. */
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

/** An answer of the endpoint. A generated one has every documented member; one made by hand may be odd. */
export interface StationBody extends Open {
  readonly connectors: readonly Connector[]
  readonly chargingAvailability: string
}

/** Answers with what is known of a station, or null for an id that nobody knows. */
export type Stations = (id: string) => StationBody | null

/** What a path's ending asks for. */
export type Format = 'json' | 'xml'
