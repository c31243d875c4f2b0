import type { Test } from 'tap'
import type { COUNTS } from '../../src/simulator/model.ts'
import type { Simulator, SimulatorOptions } from '../../src/simulator/server.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { stationAt } from '../../src/simulator/stations.ts'

/** The wall clock of simulators in tests; it does not advance. */
export const NOON = Date.UTC(2026, 0, 15, 12)
export const IDS = Array.from({ length: 400 }, (_, number) => `station-${number}`)

export type Counts = Record<(typeof COUNTS)[number], number>
export type Level = Counts & { powerKW: number }

/** An answer with every documented member. */
export interface Body {
  connectors: {
    type: string
    total: number
    availability: { current: Counts; perPowerLevel: Level[] }
  }[]
  chargingAvailability: string
}

/** The generated station of a known id. */
export function generated(id: string, at = NOON): Body {
  return stationAt(id, at) as unknown as Body
}

/** A simulator, closed when the test ends. */
export async function started(t: Test, options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = await startSimulator({ now: () => NOON, ...options })
  t.teardown(() => simulator.close())
  return simulator
}

export function get(
  { url }: Simulator,
  query: string,
  { ext = 'json', ...init }: RequestInit & { ext?: string } = {},
): Promise<Response> {
  return fetch(`${url}/search/2/chargingAvailability.${ext}?${query}`, { redirect: 'manual', ...init })
}

export async function statusOf(simulator: Simulator, query = 'chargingAvailability=a'): Promise<number> {
  const response = await get(simulator, query)
  await response.body?.cancel()
  return response.status
}

/** The statuses of a number of calls, one after the other. */
export async function statuses(simulator: Simulator, calls: number): Promise<number[]> {
  const seen: number[] = []
  while (seen.length < calls) seen.push(await statusOf(simulator))
  return seen
}

export async function bodyOf(simulator: Simulator, query: string): Promise<Body> {
  const response = await get(simulator, query)
  if (response.status !== 200) throw new Error(`expected 200, got ${response.status}`)
  return (await response.json()) as Body
}

export function level(powerKW: number, available = 1, occupied = 0): Level {
  return { powerKW, ...counts(available, occupied) }
}

export function counts(available: number, occupied: number): Counts {
  return { available, occupied, reserved: 0, unknown: 0, outOfService: 0 }
}

/** Resolves once that number of calls has arrived. */
export async function arrived(simulator: Simulator, calls: number): Promise<void> {
  while (simulator.calls < calls) await new Promise(setImmediate)
}
