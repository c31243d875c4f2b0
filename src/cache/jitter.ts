/** No entry loses more than this part of its TTL. */
const MOST = 0.1
/** What entries lose on average. It is what the jitter costs: so many more calls for a station that is always asked for. */
const MEAN = 0.015

/**
 * The part of the TTL that an entry lives (0.9 to 1), so that entries stored together expire apart. The shortening is
 * exponential, for among all with this mean that is the one that spreads most.
 * @param random from 0 up to, not including, 1
 */
export function ttlFactor(random: number): number {
  return 1 - Math.min(MOST, -MEAN * Math.log(1 - random))
}
