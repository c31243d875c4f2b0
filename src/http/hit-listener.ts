import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Rendering } from '../cache/answer.ts'
import type { Cache } from '../cache/cache.ts'
import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { ResponseOptions } from './availability-response.ts'
import { createResponseWriter, isLong, renderingFor } from './availability-response.ts'
import { AVAILABILITY_PATH } from './paths.ts'
import type { QueryCache } from './query-cache.ts'
import { trackingIdOf } from './request-context.ts'
import { isValidGet } from './validate-request.ts'

/** Answers the request, or returns false and has sent nothing. */
export type HitListener = (request: IncomingMessage, response: ServerResponse) => boolean

export interface HitListenerDeps {
  readonly cache: Pick<Cache, 'fresh' | 'hit'>
  readonly queries: Pick<QueryCache, 'cached'>
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<Observer, 'requestAnswered'>
}

/**
 * Answers requests of the proxied route that need nothing but the cache: the filter is known, and the station's answer is
 * fresh and short. It stands before the framework, to save the time of its router and objects. Every other
 * request goes on to the route (availability-route.ts), which would give these the same response.
 */
export function createHitListener(
  { basePath, ...options }: ResponseOptions & { readonly basePath: string },
  { cache, queries, clock, observer }: HitListenerDeps,
): HitListener {
  const write = createResponseWriter(options)
  const prefixes = {
    json: `${basePath}${AVAILABILITY_PATH}.json?`,
    xml: `${basePath}${AVAILABILITY_PATH}.xml?`,
  }

  return (request, response) => {
    const startedAt = clock.now()
    const { url = '', headers } = request
    const format = url.startsWith(prefixes.json) ? 'json' : 'xml'
    const prefix = prefixes[format]
    if (!url.startsWith(prefix) || url.includes('#') || headers.prefer !== undefined) return false
    const query = queries.cached(url.slice(prefix.length))
    if (query === null) return false
    const fresh = cache.fresh(query.id, startedAt)
    if (fresh === null || isLong(fresh.entry.answer) || !isValidGet(request)) return false
    const result = cache.hit(fresh) // before the rendering: a new one replaces the entry in the store by a copy
    let rendering: Rendering
    try {
      rendering = renderingFor(headers, result.answer, { query, format })
    } catch {
      return false // the route responds with the error; here it would end the process
    }
    write(response, { result, rendering, format, trackingId: trackingIdOf(headers['tracking-id']) })
    observer.requestAnswered(format, response.statusCode, 'hit', (clock.now() - startedAt) / 1000)
    return true
  }
}
