import { isStationId, parseQuery } from './availability/query.ts'
import type { Cache, LookupResult } from './cache/cache.ts'
import type { InspectedStation, StationInspector } from './ops/status/status-routes.ts'

/** Looks up and purges stations for the status page; lookups follow the same rules as for clients. */
export function stationInspector(cache: Cache): StationInspector {
  return {
    peek(id) {
      const entry = cache.peek(id)
      return entry === null ? null : inspected(entry)
    },
    async ask(id) {
      const parameters = new URLSearchParams({ chargingAvailability: id })
      return inspected(await cache.get(parseQuery(parameters.toString()).id))
    },
    // Nothing is cached under another text, and a store may have no room for it in a key.
    purge: async (id) => {
      if (isStationId(id)) await cache.purge.one(id)
    },
    purgeAll: () => cache.purge.all(),
  }
}

function inspected(result: Pick<LookupResult, 'answer' | 'ageMs' | 'ttlMs'>): InspectedStation {
  const { answer, ageMs, ttlMs } = result
  return { json: answer.json, ageMs, ttlMs }
}
