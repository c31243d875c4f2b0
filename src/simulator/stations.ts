import type { Count, StationBody } from './model.ts'
import { COUNTS } from './model.ts'
import { statesAt } from './occupancy.ts'
import { between, draw, seeded } from './random.ts'

/** The 14 documented connector types, each with usual powers in kW. */
export const CONNECTOR_TYPES: Readonly<Record<string, readonly number[]>> = {
  StandardHouseholdCountrySpecific: [2.3, 3.7],
  IEC62196Type1: [3.7, 7.4, 11, 19.2],
  IEC62196Type1CCS: [50, 62.5, 150, 350],
  IEC62196Type2CableAttached: [3.7, 7.4, 11, 22, 22.2, 43],
  IEC62196Type2Outlet: [3.7, 7.4, 11, 22, 22.2],
  IEC62196Type2CCS: [50, 75, 150, 300, 350],
  IEC62196Type3: [3.7, 11, 22],
  Chademo: [22.2, 50, 62.5, 100],
  GBT20234Part2: [3.7, 7.4, 22, 43],
  GBT20234Part3: [50, 60, 120, 150, 250],
  IEC60309AC3PhaseRed: [11, 22, 43],
  IEC60309AC1PhaseBlue: [3.7, 7.4],
  IEC60309DCWhite: [22, 50],
  Tesla: [11, 22, 120, 150, 250],
}

const MAX_CONNECTORS = 4
const MAX_LEVELS = 4
const MAX_POINTS = 6

/** A connector of a station, without occupancy: it never changes. */
interface Plug {
  readonly type: string
  readonly levels: readonly { readonly powerKW: number; readonly points: number }[]
}

/**
 * Generates the station of an id: its connectors depend on the id alone, their occupancy on the id and on the wall-clock
 * time. null for an unknown id.
 * @param speed multiplies the changes per hour
 */
export function stationAt(id: string, wallMs: number, speed = 1): StationBody | null {
  if (isUnknown(id)) return null
  const plugs = plugsOf(id)
  const points = plugs.flatMap(({ levels }) => levels).reduce((sum, level) => sum + level.points, 0)
  const states = statesAt(id, points, wallMs, speed)
  const connectors = plugs.map((plug) => connectorOf(plug, states))
  return { connectors, chargingAvailability: id }
}

/** The station before its last connector was added: empty if it has one. */
export function olderVersion(station: StationBody | null): StationBody | null {
  return station && { ...station, connectors: station.connectors.slice(0, -1) }
}

/** `1` is the reference's example. A comma does not separate ids: the whole is one unknown id. */
function isUnknown(id: string): boolean {
  return id === '1' || id.startsWith('unknown') || id.includes(',')
}

function plugsOf(id: string): Plug[] {
  const random = seeded(id)
  const types = draw(Object.entries(CONNECTOR_TYPES), between(1, MAX_CONNECTORS, random), random)
  return types.map(([type, powers]) => ({
    type,
    levels: draw(powers, between(1, MAX_LEVELS, random), random)
      .toSorted((a, b) => a - b)
      .map((powerKW) => ({ powerKW, points: between(1, MAX_POINTS, random) })),
  }))
}

/** Takes the states of its points from the front of `states`. */
function connectorOf({ type, levels }: Plug, states: Count[]) {
  const perPowerLevel = levels.map(({ powerKW, points }) => ({
    powerKW,
    ...occupancy(states.splice(0, points)),
  }))
  const current = noPoints()
  for (const level of perPowerLevel) for (const name of COUNTS) current[name] += level[name]
  const total = levels.reduce((sum, { points }) => sum + points, 0)
  return { type, total, availability: { current, perPowerLevel } }
}

function occupancy(states: readonly Count[]): Record<Count, number> {
  const counts = noPoints()
  for (const state of states) counts[state]++
  return counts
}

function noPoints(): Record<Count, number> {
  return { available: 0, occupied: 0, reserved: 0, unknown: 0, outOfService: 0 }
}
