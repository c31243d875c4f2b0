/** Bounds of Retry-After: 0 would make clients repeat at once, a year would stop the service. */
export const MIN_RETRY_AFTER_MS = 1_000
export const MAX_RETRY_AFTER_MS = 300_000

const SECONDS = /^\d+$/
/** The three forms of RFC 9110, 5.6.7. Date.parse alone accepts `-1` and `soon 5` as dates in 2001. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]+, \d\d[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})$/

/**
 * A Retry-After header in ms from now, clamped; both forms of RFC 9110, 10.2.3 (seconds, HTTP date).
 * Undefined when it is absent or invalid.
 */
export function parseRetryAfter(header: string | undefined, wallMs: number): number | undefined {
  const text = header?.trim() ?? ''
  const ms = SECONDS.test(text) ? Number(text) * 1_000 : parseHttpDate(text) - wallMs
  if (Number.isNaN(ms)) return undefined
  return Math.min(Math.max(ms, MIN_RETRY_AFTER_MS), MAX_RETRY_AFTER_MS)
}

/** The oldest form has no zone and means UTC; Date.parse would read it as local time. */
function parseHttpDate(text: string): number {
  if (!HTTP_DATE.test(text)) return Number.NaN
  return Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
}
