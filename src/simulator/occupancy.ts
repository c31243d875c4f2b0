import type { Count } from './model.ts'
import type { Random } from './random.ts'
import { between, seeded } from './random.ts'

/*
 * How the states of charging points change. Rates and shares are those of a recording of 82 stations of one city, every
 * 31 minutes from 07 to 21 h for 17 days; the nights were not recorded and have the lowest recorded rate.
 */

/** Upstream refreshes its data about this often: a station does not change more often. */
export const SLOT_MS = 3 * 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** After so long a station begins again from new states, so that any moment can be computed by itself. */
const EPOCH_SLOTS = (7 * DAY_MS) / SLOT_MS

/** Changes per hour of a station in the recorded hours: parts of all stations, and the rate that they do not exceed. */
const RATE_QUANTILES: readonly (readonly [part: number, perHour: number])[] = [
  [0, 0],
  [7 / 82, 0],
  [0.5, 0.42],
  [0.9, 1.44],
  [1, 2.9],
]
/** The part of the answers that differ from the one half an hour before: on average, and its rise and fall over a day. */
const MEAN_PER_HALF_HOUR = 0.244
const DAILY = { mean: 0.24, amplitude: 0.09, peakHour: 12, halfPeriodHours: 8 }
const MAX_DAILY_FACTOR = (DAILY.mean + DAILY.amplitude) / MEAN_PER_HALF_HOUR

/** The part of the stations of which no state is known. */
const ALL_UNKNOWN = 0.04
/** The relative frequency with which a charging point enters a state. */
const ENTERED: Readonly<Record<Count, number>> = {
  available: 0.5,
  occupied: 0.48,
  reserved: 0.0013,
  unknown: 0.0045,
  outOfService: 0.008,
}
const STATES = Object.keys(ENTERED) as Count[]
/** At most so many points change together; each after the first with this probability. */
const MAX_POINTS_TOGETHER = 6
const ANOTHER_POINT = 0.5

/** The changes per hour of a station, in the hours and at the mean of the recording. */
export function changesPerHour(id: string): number {
  const part = seeded(`${id} rate`)()
  const above = RATE_QUANTILES.findIndex(([upTo]) => part < upTo)
  const [[from, low], [to, high]] = [RATE_QUANTILES[above - 1] ?? [0, 0], RATE_QUANTILES[above] ?? [1, 0]]
  return low + ((part - from) / (to - from)) * (high - low)
}

/** How much more often than on average stations change at this time of day (UTC). */
export function dailyFactor(wallMs: number): number {
  const { mean, amplitude, peakHour, halfPeriodHours } = DAILY
  const fromPeak = Math.min(Math.abs((wallMs % DAY_MS) / HOUR_MS - peakHour), halfPeriodHours)
  return (mean + amplitude * Math.cos((Math.PI * fromPeak) / halfPeriodHours)) / MEAN_PER_HALF_HOUR
}

/**
 * The states of a station's charging points at a moment: those at the start of the epoch, and the changes since then.
 * @param speed multiplies the changes per hour
 */
export function statesAt(id: string, points: number, wallMs: number, speed: number): Count[] {
  const shift = between(0, EPOCH_SLOTS * SLOT_MS - 1, seeded(`${id} shift`))
  const slot = Math.floor((wallMs + shift) / SLOT_MS)
  const epoch = Math.floor(slot / EPOCH_SLOTS)
  const random = seeded(`${id} in epoch ${epoch}`)
  if (random() < ALL_UNKNOWN) return Array.from({ length: points }, () => 'unknown')
  const states = Array.from({ length: points }, () => enteredState(random, null))
  const perSlot = (changesPerHour(id) * speed * SLOT_MS) / HOUR_MS
  if (perSlot === 0) return states
  for (let passed = epoch * EPOCH_SLOTS + 1; passed <= slot; passed++) {
    const drawn = random()
    if (drawn >= perSlot * MAX_DAILY_FACTOR) continue // spares the cosine
    if (drawn < perSlot * dailyFactor(passed * SLOT_MS - shift)) change(states, random)
  }
  return states
}

function change(states: Count[], random: Random): void {
  let together = 1
  while (together < MAX_POINTS_TOGETHER && random() < ANOTHER_POINT) together++
  for (let i = 0; i < together; i++) {
    const point = between(0, states.length - 1, random)
    states[point] = enteredState(random, states[point] ?? null)
  }
}

/** Another state than the present one. */
function enteredState(random: Random, present: Count | null): Count {
  let left = random() * (1 - (present === null ? 0 : ENTERED[present]))
  const others = STATES.filter((state) => state !== present)
  return others.find((state) => (left -= ENTERED[state]) < 0) ?? 'available'
}
