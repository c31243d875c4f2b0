/** The settings of the quota benchmark, and its clock. */
export const TTL = 30_000
export const MAX_TTL = 86_400_000
export const EMPTY_TTL = 60_000
export const STALE_WHILE_REVALIDATE = 30_000
export const STALE_IF_ERROR = 300_000
/** The same as options of the cache, with what else it needs. */
export const CACHE = {
  ttlMs: TTL,
  maxTtlMs: MAX_TTL,
  emptyTtlMs: EMPTY_TTL,
  staleWhileRevalidateMs: STALE_WHILE_REVALIDATE,
  staleIfErrorMs: STALE_IF_ERROR,
  softTimeoutMs: 800,
  flightTimeoutMs: 4_050,
  maxEntries: 100_000,
  maxBytes: 2 ** 28,
}
/** A month of 31 days begins. */
const START = Date.UTC(2026, 0, 1)

/** Without timers: nothing in the benchmark takes time. */
export function virtualClock() {
  let now = 0
  return {
    now: () => now,
    wall: () => START + now,
    after: () => () => {},
    set(at) {
      now = at
    },
  }
}
