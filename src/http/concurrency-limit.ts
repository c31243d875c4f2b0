import type { Cache, LookupResult } from '../cache/cache.ts'
import { ServiceError } from '../errors.ts'
import type { Observer } from '../events.ts'

/** `Cache.get` on behalf of a client. */
export type CacheGet = (
  id: string,
  onWait: () => AbortSignal,
  client: string,
  /** The client's name, for metrics; null without a key. */
  name?: string | null,
) => LookupResult | Promise<LookupResult>

export interface ConcurrencyLimitDeps {
  readonly cache: Pick<Cache, 'get' | 'inFlight'>
  readonly observer: Pick<Observer, 'clientLimited'>
}

/** About the duration of an upstream call, after which a slot is likely to be free. */
const RETRY_AFTER_MS = 1_000

/**
 * `Cache.get` with at most `max` requests of one client waiting for upstream. A cached answer needs no
 * slot, and over the limit a client gets a stale answer or 429. A slot is released when the awaited call ends, not when
 * the client disconnects: otherwise a client could start any number of calls by disconnecting early.
 */
export function limitConcurrency(max: number, { cache, observer }: ConcurrencyLimitDeps): CacheGet {
  const waiting = new Map<string, number>()

  const acquire = (client: string, name: string | null = null) => {
    const count = waiting.get(client) ?? 0
    if (count >= max) {
      observer.clientLimited('in_flight', name)
      throw new ServiceError('TooManyRequests', {
        reason: 'the client has too many requests in flight',
        retryAfterMs: RETRY_AFTER_MS,
      })
    }
    waiting.set(client, count + 1)
  }
  const release = (client: string) => {
    const count = waiting.get(client) ?? 0
    if (count > 1) waiting.set(client, count - 1)
    else waiting.delete(client)
  }

  return (id, onWait, client, name) => {
    let hasSlot = false
    const found = cache.get(
      id,
      () => {
        acquire(client, name)
        hasSlot = true
        return onWait()
      },
      client,
    )
    if (hasSlot) void Promise.allSettled([found, cache.inFlight(id)]).then(() => release(client))
    return found
  }
}
