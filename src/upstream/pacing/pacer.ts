import type { Clock } from '../../lib/clock.ts'
import type { QuotaLedger } from '../state/quota-ledger.ts'
import { DemandForecast } from './demand-forecast.ts'

export interface PacerOptions {
  /** The TTL that is wanted, in ms. */
  readonly ttlMs: number
  /** How far it may be stretched. */
  readonly maxTtlMs: number
}

/** What pacing has to know of the cache. */
export interface Usage {
  /** Lookups since the start. */
  readonly lookups: number
  /** How long ago each station held was asked for last, in ms, the most recent first. */
  sinceLastUse(): Iterable<number>
}

export interface PacerDeps {
  readonly budget: Pick<QuotaLedger, 'spent' | 'remaining' | 'resetAtMs'>
  readonly usage: () => Usage
  readonly clock: Pick<Clock, 'now' | 'wall'>
}

export interface Pacing {
  /** The TTL in force. */
  readonly ttlMs: () => number
  /** Whether the budget does not last even at the longest TTL, so that calls must be rationed. */
  readonly isRationing: () => boolean
}

/** The TTL is worked out anew at most this often. */
const EVERY_MS = 5_000
/** So many stations are looked at; if more are in use, the rest is reckoned from them. */
const MOST_COUNTED = 50_000
/** This part of what remains is not planned with: it is there for what the forecast does not see. */
const UNPLANNED_SHARE = 0.03
/** Calls after which experience counts as much as the formula. */
const CALLS_TO_LEARN = 100

/**
 * Stretches the TTL so that the budget lasts: the shortest T at which the calls expected until the reset can be
 * afforded.
 *
 * Under a TTL of T, a station that is in use costs one call per T. So the calls per time are g(T) / T, with g(T) the
 * number of stations that were asked for within the last T: no guess about popularity is needed, for it is counted
 * over just the time that matters. When r times as much is asked for as now, as many stations are in use within T as
 * now within r T, so an hour of such demand costs g(r T) / T per time. What the formula gets wrong (a station's next
 * request does not come the moment its answer expires) shows in the calls really made, and is corrected by them.
 * Where nothing is kept (a TTL of 0) every lookup is taken for a call, and what coalescing saves is learned so.
 */
export function createPacer({ ttlMs, maxTtlMs }: PacerOptions, { budget, usage, clock }: PacerDeps): Pacing {
  const demand = new DemandForecast(clock)
  const longest = Math.max(ttlMs, maxTtlMs)
  const experience = { expected: 0, made: 0 }
  let effectiveMs = ttlMs
  let rationing = true // until something is known of the demand
  let workedOutAt = Number.NEGATIVE_INFINITY
  let notedAt = clock.now()
  let lookups = 0
  let spent = budget.spent
  let expectedPerMs = 0

  const learn = (now: number) => {
    const { lookups: lookupsNow } = usage()
    demand.record(lookupsNow - lookups)
    lookups = lookupsNow
    const made = budget.spent - spent
    spent = budget.spent
    const expected = expectedPerMs * (now - notedAt)
    notedAt = now
    if (made < 0) return // a new period has begun: its calls cannot be told from those of the old one
    if (rationing) return // calls that were held back say nothing of how many there would have been
    experience.expected += expected
    experience.made += made
  }

  const workOut = () => {
    const now = clock.now()
    if (now - workedOutAt < EVERY_MS) return
    workedOutAt = now
    learn(now)
    const stations = new StationsInUse(usage().sinceLastUse())
    const correction = (experience.made + CALLS_TO_LEARN) / (experience.expected + CALLS_TO_LEARN)
    const hours = demand.expected(budget.resetAtMs)
    const affordable = budget.remaining * (1 - UNPLANNED_SHARE)
    const callsPerMs = (ttl: number, ratio: number) =>
      ttlMs === 0 ? demand.perMs * ratio : stations.within(ttl * ratio) / ttl
    const lasts = (ttl: number) =>
      correction * hours.reduce((sum, { ms, ratio }) => sum + ms * callsPerMs(ttl, ratio), 0) <= affordable
    const isKnown = ttlMs === 0 ? demand.perMs > 0 : stations.within(Number.POSITIVE_INFINITY) > 0
    rationing = !isKnown || !lasts(longest)
    effectiveMs = ttlMs === 0 || !isKnown ? ttlMs : rationing ? longest : smallest(ttlMs, longest, lasts)
    expectedPerMs = callsPerMs(effectiveMs, 1)
  }

  return {
    ttlMs: () => {
      workOut()
      return effectiveMs
    },
    isRationing: () => {
      workOut()
      return rationing
    },
  }
}

/** How many stations were asked for within a time. */
class StationsInUse {
  readonly #since: number[] = []
  readonly #cut: boolean

  constructor(sinceLastUse: Iterable<number>) {
    for (const since of sinceLastUse) {
      if (this.#since.length === MOST_COUNTED) break
      this.#since.push(since)
    }
    this.#cut = this.#since.length === MOST_COUNTED
  }

  within(ms: number): number {
    const all = this.#since.length
    const last = this.#since[all - 1]
    if (this.#cut && last !== undefined && ms > last) return (all * ms) / Math.max(1, last)
    let [low, high] = [0, all]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#since[middle] as number) <= ms) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** The smallest value within the bounds that will do, to one percent; the largest if none does. */
function smallest(from: number, to: number, willDo: (value: number) => boolean): number {
  if (from === to || willDo(from)) return from
  let [tooSmall, enough] = [from, to]
  while (enough / tooSmall > 1.01) {
    const middle = Math.sqrt(tooSmall * enough)
    if (willDo(middle)) enough = middle
    else tooSmall = middle
  }
  return enough
}
