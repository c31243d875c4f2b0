export const MIN_WEIGHT = 1 / 4
const MAX_WEIGHT = 4

/**
 * How much sooner than an average station one is to be refreshed: the square root of its rate of change relative to
 * `meanRate` (changes per unit of `observed`), with one change at the mean rate as prior. For a number of refreshes the
 * square root keeps most answers right.
 */
export function changeWeight(
  { changes, observed }: { readonly changes: number; readonly observed: number },
  meanRate: number,
): number {
  const relativeRate = (changes + 1) / (observed * meanRate + 1)
  return Math.max(MIN_WEIGHT, Math.min(MAX_WEIGHT, Math.sqrt(relativeRate)))
}
