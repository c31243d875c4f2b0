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

/** The same headers for answers that are given before Fastify's hooks run. */
export function corsHeaders(origins: CorsOrigins, origin: string | undefined): Record<string, string> {
  const exposed = { 'access-control-expose-headers': EXPOSED_HEADERS }
  if (origins === '*') return { 'access-control-allow-origin': '*', ...exposed }
  const allowed: Record<string, string> =
    origin !== undefined && origins.includes(origin) ? { 'access-control-allow-origin': origin } : {}
  return {
    vary: 'Accept-Encoding, Origin',
    ...allowed,
    'access-control-allow-credentials': 'true',
    ...exposed,
  }
}
