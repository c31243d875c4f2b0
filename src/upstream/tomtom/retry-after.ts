/** Bounds of what upstream may ask for: a 0 would have clients hammer, a year would shut the service. */
export const SHORTEST_RETRY_AFTER_MS = 1_000
export const LONGEST_RETRY_AFTER_MS = 300_000

const SECONDS = /^\d+$/
/** The three forms of RFC 9110, 5.6.7. Date.parse alone takes `-1` and `soon 5` for dates of 2001. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]+, \d\d[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})$/

/**
 * A Retry-After header in ms from now, clamped; both forms of RFC 9110, 10.2.3 (seconds, HTTP date).
 * Undefined when it is absent or means nothing.
 */
export function parseRetryAfter(header: string | undefined, wallMs: number): number | undefined {
  const text = header?.trim() ?? ''
  const ms = SECONDS.test(text) ? Number(text) * 1_000 : parseHttpDate(text) - wallMs
  if (Number.isNaN(ms)) return undefined
  return Math.min(Math.max(ms, SHORTEST_RETRY_AFTER_MS), LONGEST_RETRY_AFTER_MS)
}

/** The oldest form names no zone and means UTC; Date.parse would take it for local time. */
function parseHttpDate(text: string): number {
  if (!HTTP_DATE.test(text)) return Number.NaN
  return Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
}
