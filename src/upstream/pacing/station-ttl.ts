/**
 * The TTL of one station under a quota.
 *
 * A request served at age a costs w a (w: how fast the station changes), a call costs the price θ, the same for all
 * stations. An answer that was served N times since its call, at ages that sum to S, has cost w S so far. Let it expire
 * at age a and be asked for again at once: the cycle then costs w S + θ for 1 + N requests (the one that calls is
 * served at age 0). Keeping it costs w a for the next request. The call pays as soon as
 *
 *     w a ≥ (w S + θ) / (1 + N),   that is   a ≥ (θ / w + S) / (1 + N) = TTL
 *
 * This is the threshold policy of Olston and Pandey (WWW 2008), "refresh when U(t) = t D(t) − ∫D reaches a constant that
 * is the same for all pages", with requests in place of time. With a constant request rate L it is TTL ≈ √(2 θ / (w L)),
 * the square-root law; without requests it is θ / w. No request rate is estimated: N and S are counted.
 */
import { changeWeight } from '../../lib/change-weight.ts'
import type { StationState } from '../../source.ts'
import type { ChangeRate } from './change-rate.ts'

/** What the TTL of a station follows from. */
export type StationUsage = Omit<StationState, 'evidence'>

const WEIGHT_UNIT = 1024
/** Above this, older observations count half. */
const MAX_CHANGES = 100
/** V8's small integers end here on every platform. */
const MAX_SMALL_INTEGER = 2 ** 30 - 1

/** A station of which nothing is known. */
export function newStationUsage(): StationUsage {
  return { served: 0, servedAgesS: 0, changes: 0, watchedS: 0, weight1024ths: WEIGHT_UNIT }
}

/** The age in ms at which the answer expires, before jitter. */
export function stationTtlMs(
  { served, servedAgesS, weight1024ths }: StationUsage,
  { thetaS, minTtlMs, maxTtlMs }: { thetaS: number; minTtlMs: number; maxTtlMs: number },
): number {
  const ttlMs = (((thetaS * WEIGHT_UNIT) / weight1024ths + servedAgesS) / (1 + served)) * 1000
  return Math.max(minTtlMs, Math.min(maxTtlMs, ttlMs))
}

/** Counts a request that was served from the cache. A request that waited for the call is not counted: its age is 0. */
export function recordServed(usage: StationUsage, ageMs: number): void {
  const servedAgesS = usage.servedAgesS + Math.floor(ageMs / 1000)
  if (servedAgesS > MAX_SMALL_INTEGER || usage.served >= MAX_SMALL_INTEGER) return
  usage.served++
  usage.servedAgesS = servedAgesS
}

/**
 * What is known of a station after an answer that replaces an older one: a call's, or one taken over from a replica.
 * Adds to the mean rate of all stations. `gapMs` is the time between the two answers.
 */
export function usageAfterAnswer(
  { changes, watchedS }: StationUsage,
  { differs, gapMs }: { differs: boolean; gapMs: number },
  meanRate: ChangeRate,
): StationUsage {
  const gapS = Math.max(0, Math.floor(gapMs / 1000))
  meanRate.record(differs, gapS)
  const counted = changes + (differs ? 1 : 0)
  const halving = counted > MAX_CHANGES ? 2 : 1
  const known = {
    changes: Math.floor(counted / halving),
    watchedS: Math.min(MAX_SMALL_INTEGER, Math.floor((watchedS + gapS) / halving)),
  }
  // The full rate would keep a little more answers correct at the cost of very old ones elsewhere, and would feed back:
  // shorter TTLs find more changes per time.
  const weight = changeWeight({ changes: known.changes, observed: known.watchedS }, meanRate.perSecond)
  const weight1024ths = Math.round(weight * WEIGHT_UNIT)
  return { served: 0, servedAgesS: 0, ...known, weight1024ths }
}
