import { isDeepStrictEqual } from 'node:util'
import { filterAvailability } from '../availability/filter.ts'
import type { Availability } from '../availability/model.ts'
import type { Findings } from './assumptions.ts'
import { confirmed, contradicted, inconclusive } from './assumptions.ts'
import type { Reply } from './client.ts'
import { compareFilters, forAll, isAnswer, summaryOf, UNSETTLED } from './filtered.ts'
import type { Stations } from './stations.ts'
import { answerIn } from './stations.ts'

const UNKNOWN_TYPE = 'NoSuchConnectorType'

/** What `connectorSet` does: removes other types, leaves the rest, case, repetition, unknown types. */
export const CONNECTOR_SET_CHECKS = [checkDrops, checkRepeated, checkCase, checkUnknown] as const

async function checkDrops(stations: Stations): Promise<Findings> {
  const ids = ['connector-set-drops', 'connector-set-untouched'] as const
  const station = withMostTypes(stations)
  const types = station === null ? [] : typesOf(station)
  if (station === null || types.length < 2) return forAll(ids, 'name a station with connectors of two types')
  const id = station.chargingAvailability
  const kept = types.slice(0, Math.max(1, types.length - 1))
  const request = { id, label: ids[0], filters: [`connectorSet=${kept.join(',')}`] }
  const findings = await compareFilters(stations, request, ({ availability }, replies) => {
    const [reply] = replies as [Reply]
    const expected = withTypes(availability, kept)
    const answer = answerIn(reply, id)
    const seen = `of ${types.join(', ')} asked for ${kept.join(', ')}: ${summaryOf(reply, id)}`
    const isOf = (one: Availability) => typesIn(one).join() === typesIn(expected).join()
    const found = answer && withTypes(answer, kept)
    if (found === null) return { [ids[0]]: contradicted(seen), [ids[1]]: inconclusive(seen) }
    const isUntouched = isDeepStrictEqual(found, expected)
    return {
      [ids[0]]: isOf(answer as Availability) ? confirmed(seen) : contradicted(seen),
      [ids[1]]: isUntouched ? confirmed(seen) : contradicted(seen),
    }
  })
  return findings ?? forAll(ids, UNSETTLED)
}

async function checkRepeated(stations: Stations): Promise<Findings> {
  const ids = ['connector-set-repeated'] as const
  const station = withMostTypes(stations)
  const types = station === null ? [] : typesOf(station)
  if (station === null || types.length < 2) return forAll(ids, 'name a station with connectors of two types')
  const id = station.chargingAvailability
  const [a, b] = types as [string, string]
  const filters = [`connectorSet=${a},${b}`, `connectorSet=${a}&connectorSet=${b}`]
  const findings = await compareFilters(stations, { id, label: ids[0], filters }, (_full, replies) => {
    const [list, repeated] = replies as [Reply, Reply]
    const seen = `as a list: ${summaryOf(list, id)}; repeated: ${summaryOf(repeated, id)}`
    const expected = answerIn(list, id)
    const isEqual = expected !== null && isAnswer(repeated, expected)
    return { 'connector-set-repeated': isEqual ? confirmed(seen) : contradicted(seen) }
  })
  return findings ?? forAll(ids, UNSETTLED)
}

async function checkCase(stations: Stations): Promise<Findings> {
  const ids = ['connector-set-case'] as const
  const station = withMostTypes(stations)
  const type = station === null ? undefined : typesOf(station).find((name) => name !== name.toLowerCase())
  if (station === null || type === undefined) return forAll(ids, 'name a station with connectors')
  return expectNothing(stations, station, { id: ids[0], type: type.toLowerCase() })
}

async function checkUnknown(stations: Stations): Promise<Findings> {
  const station = withMostTypes(stations)
  if (station === null) return forAll(['connector-set-unknown'], 'name a station with connectors')
  return expectNothing(stations, station, { id: 'connector-set-unknown', type: UNKNOWN_TYPE })
}

/** A set of this type is expected to be a 200 without connectors. */
async function expectNothing(
  stations: Stations,
  station: Availability,
  { id, type }: { readonly id: 'connector-set-case' | 'connector-set-unknown'; readonly type: string },
): Promise<Findings> {
  const request = { id: station.chargingAvailability, label: id, filters: [`connectorSet=${type}`] }
  const findings = await compareFilters(stations, request, ({ availability }, replies) => {
    const [reply] = replies as [Reply]
    const seen = `asked for ${type}: ${summaryOf(reply, request.id)}`
    const isEmpty = isAnswer(reply, { ...availability, connectors: [] })
    return { [id]: isEmpty ? confirmed(seen) : contradicted(seen) }
  })
  return findings ?? forAll([id], UNSETTLED)
}

function withMostTypes({ usable }: Stations): Availability | null {
  return usable.toSorted((a, b) => typesOf(b).length - typesOf(a).length)[0] ?? null
}

/** The distinct types that a set can name. */
function typesOf(station: Availability): string[] {
  return [...new Set(typesIn(station))].filter((type) => /^[A-Za-z0-9]{1,64}$/.test(type))
}

function typesIn({ connectors }: Availability): string[] {
  return connectors.map(({ type }) => type)
}

function withTypes(station: Availability, types: readonly string[]): Availability {
  return filterAvailability(station, { types: new Set(types), minPowerKW: null, maxPowerKW: null })
}
