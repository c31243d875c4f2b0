export const MIN_WEIGHT = 1 / 4
const MAX_WEIGHT = 4

/**
 * How much sooner than an average one something that changes is to be looked at: the square root of its rate of change
 * relative to `meanRate` (changes per unit of `observed`), with one change at the mean rate as prior. The square root
 * loses least truth for a number of looks.
 */
export function changeWeight(
  { changes, observed }: { readonly changes: number; readonly observed: number },
  meanRate: number,
): number {
  const relativeRate = (changes + 1) / (observed * meanRate + 1)
  return Math.max(MIN_WEIGHT, Math.min(MAX_WEIGHT, Math.sqrt(relativeRate)))
}
