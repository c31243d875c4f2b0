/** Bounds of what upstream may ask for: a 0 would have clients hammer, a year would shut the service. */
export const SHORTEST_RETRY_AFTER_MS = 1_000
export const LONGEST_RETRY_AFTER_MS = 300_000

const SECONDS = /^\d+$/

/**
 * A Retry-After header in ms from now, clamped; both forms of RFC 9110, 10.2.3 (seconds, HTTP date).
 * Undefined when it is absent or means nothing.
 */
export function parseRetryAfter(header: string | undefined, wallMs: number): number | undefined {
  const text = header?.trim() ?? ''
  const ms = SECONDS.test(text) ? Number(text) * 1_000 : Date.parse(text) - wallMs
  if (Number.isNaN(ms)) return undefined
  return Math.min(Math.max(ms, SHORTEST_RETRY_AFTER_MS), LONGEST_RETRY_AFTER_MS)
}
