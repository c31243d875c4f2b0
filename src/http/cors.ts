import type { FastifyCorsOptions } from '@fastify/cors'

/** `*`, or the origins that are reflected. */
export type CorsOrigins = '*' | readonly string[]

export const EXPOSED_HEADERS = 'Tracking-ID, Retry-After, Age, Cache-Status, ETag'
export const ALLOWED_METHODS = 'GET, OPTIONS'

/** How long a browser may remember a preflight, in seconds: two hours is the most that Chromium keeps. */
const PREFLIGHT_MAX_AGE = 7_200

/**
 * A preflight is answered here and never reaches the cache. Named origins are reflected with credentials, for
 * TomTom's newer SDK asks with `credentials: 'include'` when it has no key of its own.
 */
export function corsOptions(origins: CorsOrigins): FastifyCorsOptions {
  return {
    origin: origins === '*' ? '*' : [...origins],
    credentials: origins !== '*',
    methods: ALLOWED_METHODS,
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_MAX_AGE,
    strictPreflight: false,
  }
}

/** The same headers, and the Vary that goes with them, for answers that don't pass the plugin. */
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

/** corsHeaders by origin, made beforehand as the flat list of names and values that writeHead takes. */
export function corsFields(origins: CorsOrigins): (origin: string | undefined) => readonly string[] {
  const fieldsFor = (origin?: string) => Object.entries(corsHeaders(origins, origin)).flat()
  const others = fieldsFor()
  const listed = new Map(origins === '*' ? [] : origins.map((origin) => [origin, fieldsFor(origin)]))
  return (origin) => (origin === undefined ? others : (listed.get(origin) ?? others))
}
