/** Exponential back-off: `initialMs` after the first of `failures` in a row, then doubling up to `maxMs`. */
export function backoffMs(initialMs: number, maxMs: number, failures: number): number {
  return Math.min(initialMs * 2 ** (failures - 1), maxMs)
}
