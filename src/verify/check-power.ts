import type { PowerFilter } from '../availability/filter.ts'
import type { Availability } from '../availability/model.ts'
import type { Findings, Reading } from './assumptions.ts'
import { confirmed, contradicted, inconclusive, READINGS } from './assumptions.ts'
import type { Reply } from './client.ts'
import { compareFilters, forAll, isAnswer, summaryOf, UNSETTLED } from './filtered.ts'
import type { Bounds, Candidate } from './power-candidates.ts'
import * as candidates from './power-candidates.ts'
import type { Stations } from './stations.ts'
import { queryOf } from './stations.ts'

const MAX_COMPARISONS = 3
const WHAT_TO_NAME =
  'name a station with a connector of two power levels, in use at both, and another connector of one lower power'

/** What a power bound does. Each check needs the readings that the one before it left possible. */
export async function checkPower(stations: Stations, configured: PowerFilter): Promise<Findings[]> {
  const { findings, possible } = await checkReading(stations, configured)
  const readings = possible.filter((reading) => reading !== 'none')
  if (readings.length === 0) {
    const why = possible.length > 0 ? 'a power bound has no effect' : 'how a power bound filters is not known'
    return [findings, forAll(['power-closed', 'power-both'], why)]
  }
  return [findings, await checkClosed(stations, readings), await checkBoth(stations, readings)]
}

interface ReadingResult {
  readonly findings: Findings
  /** The readings that fit all that was seen; empty if none does. */
  readonly possible: readonly Reading[]
}

/** Compares station after station until one reading is left, or no station separates those that are. */
async function checkReading(stations: Stations, configured: PowerFilter): Promise<ReadingResult> {
  let possible: readonly Reading[] = READINGS
  const tried: Candidate[] = []
  let seen = ''
  let isUnsettled = false
  while (possible.length > 1 && tried.length < MAX_COMPARISONS) {
    const candidate = candidates.bestCandidate(possible, stations.usable, tried)
    if (candidate === null) break
    tried.push(candidate)
    const found = await compareReadings(stations, candidate, configured)
    if (found === null) isUnsettled = true
    else {
      possible = possible.filter((reading) => found.possible.includes(reading))
      seen = found.seen
    }
  }
  return { findings: { 'power-filter': verdictOn(possible, { configured, seen, isUnsettled }) }, possible }
}

function verdictOn(
  possible: readonly Reading[],
  { configured, seen, isUnsettled }: { configured: PowerFilter; seen: string; isUnsettled: boolean },
) {
  const [reading = null, ...others] = possible
  const all = { reading: others.length === 0 ? reading : null }
  if (possible.length === 0)
    return { ...contradicted(`none of ${READINGS.join(', ')} fits: ${seen}`), ...all }
  if (!possible.includes(configured)) return { ...contradicted(`${possible.join(' or ')}: ${seen}`), ...all }
  if (others.length === 0) return { ...confirmed(`${reading}: ${seen}`), ...all }
  const why = isUnsettled ? UNSETTLED : WHAT_TO_NAME
  return { ...inconclusive(`each of ${possible.join(', ')} fits: ${why}`), ...all }
}

async function compareReadings(stations: Stations, { id, bounds }: Candidate, configured: PowerFilter) {
  const query = candidates.queryOfBounds(bounds)
  return stations.compare(id, [{ label: 'power-filter', query: queryOf(id, query) }], (full, replies) => {
    const [reply] = replies as [Reply]
    const fits = (reading: Reading) =>
      isAnswer(reply, candidates.expectedUnder(reading, full.availability, bounds))
    const possible = READINGS.filter(fits)
    const result = { possible, seen: `${query}: ${summaryOf(reply, id)}` }
    return { result, isContradicted: !possible.includes(configured) }
  })
}

/** Bounds that are the powers of rows: the highest power as the lower bound, and the lowest as the upper one. */
async function checkClosed(stations: Stations, readings: readonly Reading[]): Promise<Findings> {
  const ids = ['power-closed'] as const
  const station = stations.usable.find((one) => candidates.powersOf(one).length > 0)
  if (station === undefined) return forAll(ids, 'name a station with power levels')
  const id = station.chargingAvailability
  const powers = candidates.powersOf(station)
  const both: Bounds[] = [
    { min: powers.at(-1) as number, max: null },
    { min: null, max: powers[0] as number },
  ]
  const request = { id, label: ids[0], filters: both.map(candidates.queryOfBounds) }
  const findings = await compareFilters(stations, request, ({ availability }, replies) => {
    const seen = replies.map((reply, at) => `${request.filters[at]}: ${summaryOf(reply, id)}`).join('; ')
    const isClosed = fitsOne(readings, replies, (reading, at) =>
      candidates.expectedUnder(reading, availability, both[at] as Bounds),
    )
    return { 'power-closed': isClosed ? confirmed(seen) : contradicted(seen) }
  })
  return findings ?? forAll(ids, UNSETTLED)
}

/** Both bounds at once, around a power. */
async function checkBoth(stations: Stations, readings: readonly Reading[]): Promise<Findings> {
  const ids = ['power-both'] as const
  const [reading] = readings as [Reading]
  const found = stations.usable
    .map((station) => ({ station, bounds: candidates.boundsAround(station, reading) }))
    .find(({ bounds }) => bounds !== null)
  if (found === undefined) return forAll(ids, 'name a station with power levels of three powers')
  const { station, bounds } = found as { station: Availability; bounds: Bounds }
  const id = station.chargingAvailability
  const query = candidates.queryOfBounds(bounds)
  const findings = await compareFilters(
    stations,
    { id, label: ids[0], filters: [query] },
    (full, replies) => {
      const seen = `${query}: ${summaryOf((replies as [Reply])[0], id)}`
      const fits = fitsOne(readings, replies, (one) =>
        candidates.expectedUnder(one, full.availability, bounds),
      )
      return { 'power-both': fits ? confirmed(seen) : contradicted(seen) }
    },
  )
  return findings ?? forAll(ids, UNSETTLED)
}

/** Whether all responses are those of one reading. */
function fitsOne(
  readings: readonly Reading[],
  replies: readonly Reply[],
  expected: (reading: Reading, at: number) => Availability,
): boolean {
  return readings.some((reading) => replies.every((reply, at) => isAnswer(reply, expected(reading, at))))
}
