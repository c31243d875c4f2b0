import type { HourlyShape } from './demand-forecast.ts'
import { HOURS_A_DAY } from './demand-forecast.ts'

/** What the price of a call rests on, as a process leaves it to the next. */
export interface LearnedPrice {
  /** θ in s, and the quota that it was found under: under another one it is of no use. */
  readonly thetaS: number
  readonly limit: number
  readonly demand: HourlyShape
  /** Calls and lookups of about a day. */
  readonly calls: number
  readonly lookups: number
}

/** What is known of the changes of all stations together: a list of numbers whose meaning their owner knows. */
export interface LearnedChanges {
  readonly rate: readonly number[]
  readonly correctness: readonly number[]
}

export interface LearnedPacing {
  readonly price: LearnedPrice
  /** Null where nothing is stored. */
  readonly changes: LearnedChanges | null
}

/**
 * What replicas and later processes share of pacing. Nothing here rejects; a store that cannot be reached has nothing.
 *
 * All replicas steer by the calls of all. Without a common price, small differences between their forecasts add up until
 * some call for nothing and others at CACHE_TTL.
 */
export interface PacingStore {
  /** The latest price of another replica in s; null when there is none. */
  readonly latestThetaS: () => number | null
  readonly publishTheta: (thetaS: number) => void
  /** What was saved; anything else if there is nothing, see {@link parseLearned}. */
  readonly load: () => Promise<unknown>
  readonly save: (learned: LearnedPacing) => Promise<void>
}

/** A published price older than this is of a replica that is gone. */
export const PRICE_TTL_MS = 60_000

/** Null for a value that is not of the right form: a store may have been written by anybody. */
export function parseLearned(value: unknown): LearnedPacing | null {
  const { price, changes } = asObject(value)
  const { thetaS, limit, demand, calls, lookups } = asObject(price)
  const numbers = [thetaS, limit, calls, lookups]
  if (!numbers.every(isAmount) || !Array.isArray(demand) || demand.length > HOURS_A_DAY) return null
  if (!demand.every((one) => one === null || isAmount(one))) return null
  const { rate, correctness } = asObject(changes)
  const isKnown = [rate, correctness].every((list) => Array.isArray(list) && list.every(Number.isFinite))
  return {
    price: { thetaS, limit, demand, calls, lookups } as LearnedPrice,
    changes: isKnown ? ({ rate, correctness } as LearnedChanges) : null,
  }
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
