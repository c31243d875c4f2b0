/** Upper bounds of the buckets in ms, each a quarter above the one before: 1 ms to 36 s. */
export const LATENCY_BOUNDS_MS: readonly number[] = Array.from({ length: 48 }, (_, i) => 1.25 ** i)

/** The bucket that a latency falls into; what is above the last bound falls into the last bucket. */
export function bucketOf(ms: number): number {
  if (!(ms > 1)) return 0
  const bucket = Math.ceil(Math.log(ms) / Math.log(1.25) - 1e-9)
  return Math.min(bucket, LATENCY_BOUNDS_MS.length - 1)
}

/**
 * The latency in ms that the share `quantile` (0 to 1) of all calls did not exceed, as far as the buckets tell:
 * within a bucket the calls are taken to lie evenly, so it is off by a quarter at most. Null without calls.
 */
export function percentile(buckets: readonly number[], quantile: number): number | null {
  const calls = buckets.reduce((sum, inBucket) => sum + inBucket, 0)
  if (calls === 0) return null
  const wanted = quantile * calls
  let before = 0
  for (const [i, inBucket] of buckets.entries()) {
    if (inBucket > 0 && before + inBucket >= wanted) {
      const low = i === 0 ? 0 : (LATENCY_BOUNDS_MS[i - 1] as number)
      const high = LATENCY_BOUNDS_MS[i] as number
      return low + (high - low) * ((wanted - before) / inBucket)
    }
    before += inBucket
  }
  return LATENCY_BOUNDS_MS.at(-1) as number
}
