import type { Cache, LookupResult } from '../cache/cache.ts'
import { ServiceError } from '../errors.ts'
import type { Observer } from '../events.ts'

/** A lookup in the cache for a client; the cache's own terms otherwise. */
export type CacheGet = (
  id: string,
  leaving: () => AbortSignal,
  client: string,
) => LookupResult | Promise<LookupResult>

/** When asking again can help: about what a call upstream takes. */
const RETRY_AFTER_MS = 1_000

/**
 * The cache's lookup, in which so many requests of one client may wait for upstream at once; 0 is no limit. What is
 * held is answered all the same, and one more that would have to wait gets an old answer or 429. A place is free
 * again when the call that was waited for has ended, so that leaving early makes no room for more calls.
 */
export function limitConcurrency(
  most: number,
  { cache, observer }: { cache: Pick<Cache, 'get' | 'inFlight'>; observer: Pick<Observer, 'clientLimited'> },
): CacheGet {
  if (most === 0) return (id, leaving) => cache.get(id, leaving)
  const waiting = new Map<string, number>()

  const enter = (client: string) => {
    const present = waiting.get(client) ?? 0
    if (present >= most) {
      observer.clientLimited('in_flight')
      throw new ServiceError('TooManyRequests', {
        reason: 'the client has too many requests in flight',
        retryAfterMs: RETRY_AFTER_MS,
      })
    }
    waiting.set(client, present + 1)
  }
  const leave = (client: string) => {
    const present = waiting.get(client) ?? 0
    if (present > 1) waiting.set(client, present - 1)
    else waiting.delete(client)
  }

  return (id, leaving, client) => {
    let hasPlace = false
    const found = cache.get(id, () => {
      enter(client)
      hasPlace = true
      return leaving()
    })
    if (hasPlace) void Promise.allSettled([found, cache.inFlight(id)]).then(() => leave(client))
    return found
  }
}
