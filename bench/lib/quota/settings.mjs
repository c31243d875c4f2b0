/** The settings of the benchmark, and its clock. */
export const TTL = 30_000
export const MAX_TTL = 86_400_000
export const EMPTY_TTL = 60_000
export const STALE_WHILE_REVALIDATE = 30_000
export const STALE_IF_ERROR = 300_000
/** A month of 31 days begins. */
const START = Date.UTC(2026, 0, 1)

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
