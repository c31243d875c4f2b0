import { LRUCache } from 'lru-cache'
import type { Filter, Query } from '../availability/query.ts'
import { MAX_ID_LENGTH, parseQuery } from '../availability/query.ts'

/** A station whose spelling has no rules of its own: nothing in it is encoded, and nothing is too long. */
const STATION = new RegExp(`(?:^|&)chargingAvailability=([A-Za-z0-9_-]{1,${MAX_ID_LENGTH}})(?=&|$)`)
const LONGEST_REMEMBERED = 512

/**
 * parseQuery with a memory: frontends ask for many stations in few ways, and what a query says beside its station need
 * not be read twice. What is refused is never remembered. Throws what parseQuery throws.
 */
export class QueryCache {
  readonly #filters: LRUCache<string, Filter>

  constructor(most: number) {
    this.#filters = new LRUCache({ max: most })
  }

  read(raw: string): Query {
    const station = STATION.exec(raw)
    if (station === null) return parseQuery(raw)
    const [text, id] = station as unknown as [string, string]
    // A second station in the rest is refused below, so no rest that has one is remembered.
    const rest = raw.slice(0, station.index) + raw.slice(station.index + text.length)
    const { types, minPowerKW, maxPowerKW } = this.#filters.get(rest) ?? this.#parse(raw, rest)
    return { id, types, minPowerKW, maxPowerKW }
  }

  #parse(raw: string, rest: string): Filter {
    const { types, minPowerKW, maxPowerKW } = parseQuery(raw)
    const filter = { types, minPowerKW, maxPowerKW }
    if (rest.length <= LONGEST_REMEMBERED) this.#filters.set(rest, filter)
    return filter
  }
}
