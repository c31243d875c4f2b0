import type { Availability, Connector } from '../../src/availability/model.ts'

/** One row of perPowerLevel. */
export function level(powerKW: number, available = 1, occupied = 0) {
  return { powerKW, available, occupied, reserved: 0, unknown: 0, outOfService: 0 }
}

/** A connector whose total and current are the sums of its rows. */
export function connector(type: string, ...rows: ReturnType<typeof level>[]): Connector {
  const available = rows.reduce((sum, row) => sum + row.available, 0)
  const occupied = rows.reduce((sum, row) => sum + row.occupied, 0)
  const current = { available, occupied, reserved: 0, unknown: 0, outOfService: 0 }
  return { type, total: available + occupied, availability: { current, perPowerLevel: rows } }
}

export function station(id: string, ...connectors: Connector[]): Availability {
  return { connectors, chargingAvailability: id }
}

/** The station of the endpoint's reference. */
export function referenceStation(id = '75502858-a491-36fe-7128-23d400153b86'): Availability {
  return station(id, connector('IEC62196Type2Outlet', level(22.2, 1, 0), level(50, 0, 1)))
}
