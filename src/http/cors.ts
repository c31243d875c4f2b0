import type { FastifyCorsOptions } from '@fastify/cors'
import { methodsOfPreflight } from './paths.ts'

/** `*`, or the allowed origins. */
export type CorsOrigins = '*' | readonly string[]

const EXPOSED_HEADERS = 'Tracking-ID, Retry-After, Age, Cache-Status, ETag'

/** Access-Control-Max-Age in seconds: Chromium caps it at two hours. */
const PREFLIGHT_MAX_AGE = 7_200

/**
 * Preflights are answered by the plugin and never reach the cache. Named origins are reflected with credentials,
 * because TomTom's newer SDK sends `credentials: 'include'` when it has no key.
 */
export function corsOptions(origins: CorsOrigins): FastifyCorsOptions {
  return {
    origin: origins === '*' ? '*' : [...origins],
    credentials: origins !== '*',
    methods: methodsOfPreflight(''),
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_MAX_AGE,
    strictPreflight: false,
  }
}

/** The same headers, with Vary, for responses that the plugin does not see. */
export function corsHeaders(origins: CorsOrigins, origin: string | undefined): Record<string, string> {
  const exposed = { 'access-control-expose-headers': EXPOSED_HEADERS }
  if (origins === '*') return { vary: 'Accept-Encoding', 'access-control-allow-origin': '*', ...exposed }
  return {
    vary: 'Accept-Encoding, Origin',
    ...(origin !== undefined && origins.includes(origin) && { 'access-control-allow-origin': origin }),
    'access-control-allow-credentials': 'true',
    ...exposed,
  }
}

/** corsHeaders by origin, precomputed as the flat list of names and values that writeHead takes. */
export function corsFields(origins: CorsOrigins): (origin: string | undefined) => readonly string[] {
  const fieldsFor = (origin?: string) => Object.entries(corsHeaders(origins, origin)).flat()
  const others = fieldsFor()
  const allowed = new Map(origins === '*' ? [] : origins.map((origin) => [origin, fieldsFor(origin)]))
  return (origin) => (origin === undefined ? others : (allowed.get(origin) ?? others))
}
