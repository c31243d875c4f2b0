import type { Filter, Query } from '../availability/query.ts'
import { MAX_ID_LENGTH, parseQuery } from '../availability/query.ts'
import { copyString } from '../lib/copy-string.ts'

/** A station id that needs no parsing: nothing in it is encoded, and it is not too long. */
const STATION = new RegExp(`(?:^|&)chargingAvailability=([A-Za-z0-9_-]{1,${MAX_ID_LENGTH}})(?=&|$)`)
/** Longer queries are parsed each time. */
const MAX_CACHED_LENGTH = 512

/**
 * Caches the parsed filter by everything in a query except the station: frontends request many stations with few
 * different filters. Invalid queries are not cached. At the maximum the oldest is dropped: an order by use would cost a
 * hit with a filter half a microsecond.
 */
export class QueryCache {
  readonly #filters = new Map<string, Filter>()
  readonly #maxFilters: number

  constructor(maxFilters: number) {
    this.#maxFilters = maxFilters
  }

  /** The same as `parseQuery`, errors included. */
  read(raw: string): Query {
    const station = STATION.exec(raw)
    if (station === null) return parseQuery(raw)
    const rest = restOf(raw, station)
    return queryOf(station, this.#filters.get(rest) ?? this.#parse(raw, rest))
  }

  /** The same as `read` for a query whose filter is cached; else null. */
  cached(raw: string): Query | null {
    const station = STATION.exec(raw)
    if (station === null) return null
    const filter = this.#filters.get(restOf(raw, station))
    return filter === undefined ? null : queryOf(station, filter)
  }

  #parse(raw: string, rest: string): Filter {
    const { types, minPowerKW, maxPowerKW } = parseQuery(raw)
    if (rest.length > MAX_CACHED_LENGTH) return { types, minPowerKW, maxPowerKW }
    const filter = { types: types && new Set([...types].map(copyString)), minPowerKW, maxPowerKW }
    for (const oldest of this.#filters.keys()) {
      if (this.#filters.size < this.#maxFilters) break
      this.#filters.delete(oldest)
    }
    this.#filters.set(copyString(rest), filter)
    return filter
  }
}

/** The query without its station. parseQuery rejects a second one, so no rest that contains one is ever cached. */
function restOf(raw: string, station: RegExpExecArray): string {
  return raw.slice(0, station.index) + raw.slice(station.index + station[0].length)
}

function queryOf(station: RegExpExecArray, { types, minPowerKW, maxPowerKW }: Filter): Query {
  return { id: station[1] as string, types, minPowerKW, maxPowerKW }
}
