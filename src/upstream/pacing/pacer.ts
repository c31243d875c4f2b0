import type { Clock } from '../../lib/clock.ts'
import type { QuotaLedger } from '../state/quota-ledger.ts'
import { DemandForecast } from './demand-forecast.ts'
import { StationsInUse } from './stations-in-use.ts'

/** May change at run time: read at each use. */
export interface PacerOptions {
  /** The configured TTL, in ms. */
  readonly ttlMs: number
  /** Upper bound for the TTL when it is stretched, in ms. */
  readonly maxTtlMs: number
}

/** Use of the cache, as the pacer reads it. */
export interface Usage {
  /** Lookups since the start. */
  readonly lookups: number
  /** For each cached station the time since its last lookup, in ms, the most recent first. */
  sinceLastUse(): Iterable<number>
}

export interface PacerDeps {
  readonly ledger: Pick<QuotaLedger, 'spent' | 'remaining' | 'resetAtMs'>
  readonly usage: () => Usage
  readonly clock: Pick<Clock, 'now' | 'wall'>
}

export interface Pacing {
  /** The TTL in effect. */
  readonly ttlMs: () => number
  /** Whether the quota does not last even at the longest TTL, so that calls must be rationed. */
  readonly isRationing: () => boolean
}

/** The TTL is computed at most this often. */
const UPDATE_EVERY_MS = 5_000
/** This share of the remaining calls is kept for demand that the forecast does not show. */
const UNPLANNED_SHARE = 0.03
/** After this many calls, experience has as much weight as the formula. */
const CALLS_TO_LEARN = 100
/** The TTL is found to this ratio. */
const TTL_PRECISION = 1.01

/**
 * Stretches the TTL so that the quota lasts: to the shortest T at which the calls expected until the reset can be
 * afforded.
 *
 * With a TTL of T, a station in use costs one call per T. So the calls per time are g(T) / T, where g(T) is the number
 * of stations with a lookup within the last T. It is counted, so no model of popularity is needed. When the demand is r
 * times the current one, as many stations are in use within T as now within r T, so the calls per time are g(r T) / T.
 * The formula has an error: a station's next lookup does not come the moment its answer expires. The calls that were
 * really made show that error and correct it. With a TTL of 0 nothing is cached: every lookup is taken for a call, and
 * the same correction accounts for coalescing.
 */
export function createPacer(options: PacerOptions, deps: PacerDeps): Pacing {
  const pacer = new Pacer(options, deps)
  return { ttlMs: () => pacer.ttlMs, isRationing: () => pacer.isRationing }
}

class Pacer {
  readonly #deps: PacerDeps
  readonly #options: PacerOptions
  readonly #demand: DemandForecast
  /** Calls by the formula, and calls made. */
  readonly #experience = { expected: 0, made: 0 }
  #ttlMs: number
  #rationing = true // until the demand is known
  #updatedAt = Number.NEGATIVE_INFINITY
  #learnedAt: number
  #lookups = 0
  #spent: number
  #expectedPerMs = 0

  constructor(options: PacerOptions, deps: PacerDeps) {
    this.#deps = deps
    this.#options = options
    this.#demand = new DemandForecast(deps.clock)
    this.#ttlMs = options.ttlMs
    this.#learnedAt = deps.clock.now()
    this.#spent = deps.ledger.spent
  }

  get ttlMs(): number {
    this.#update()
    return this.#ttlMs
  }

  get isRationing(): boolean {
    this.#update()
    return this.#rationing
  }

  #update(): void {
    const { ledger, usage, clock } = this.#deps
    const now = clock.now()
    if (now - this.#updatedAt < UPDATE_EVERY_MS) return
    this.#updatedAt = now
    this.#learn(now)
    const stations = new StationsInUse(usage().sinceLastUse())
    const correction = (this.#experience.made + CALLS_TO_LEARN) / (this.#experience.expected + CALLS_TO_LEARN)
    const hours = this.#demand.expected(ledger.resetAtMs)
    const affordable = ledger.remaining * (1 - UNPLANNED_SHARE)
    const lasts = (ttl: number) =>
      correction *
        hours.reduce((sum, { ms, ratio }) => sum + ms * this.#callsPerMs(stations, ttl, ratio), 0) <=
      affordable
    this.#choose(stations, lasts)
  }

  #choose(stations: StationsInUse, lasts: (ttl: number) => boolean): void {
    const { ttlMs: configured, maxTtlMs } = this.#options
    const longest = Math.max(configured, maxTtlMs)
    const isKnown = configured === 0 ? this.#demand.perMs > 0 : stations.within(Number.POSITIVE_INFINITY) > 0
    this.#rationing = !isKnown || !lasts(longest)
    if (configured === 0 || !isKnown) this.#ttlMs = configured
    else this.#ttlMs = this.#rationing ? longest : smallest(configured, longest, lasts)
    this.#expectedPerMs = this.#callsPerMs(stations, this.#ttlMs, 1)
  }

  /** Calls per ms with this TTL, while the demand is `ratio` times the current one. */
  #callsPerMs(stations: StationsInUse, ttl: number, ratio: number): number {
    return this.#options.ttlMs === 0 ? this.#demand.perMs * ratio : stations.within(ttl * ratio) / ttl
  }

  /** Records the demand since the last time, and the calls that were expected and made. */
  #learn(now: number): void {
    const { lookups } = this.#deps.usage()
    this.#demand.record(lookups - this.#lookups)
    this.#lookups = lookups
    const { spent } = this.#deps.ledger
    const made = spent - this.#spent
    this.#spent = spent
    const expected = this.#expectedPerMs * (now - this.#learnedAt)
    this.#learnedAt = now
    if (made < 0) return // a new period: its calls cannot be separated from those of the last
    if (this.#rationing) return // delayed calls do not show how many would have been made
    this.#experience.expected += expected
    this.#experience.made += made
  }
}

/** The smallest value within the bounds that is enough, to one percent; the largest if none is. */
function smallest(from: number, to: number, isEnough: (value: number) => boolean): number {
  if (from === to || isEnough(from)) return from
  let [tooSmall, enough] = [from, to]
  while (enough / tooSmall > TTL_PRECISION) {
    const middle = Math.sqrt(tooSmall * enough)
    if (isEnough(middle)) enough = middle
    else tooSmall = middle
  }
  return enough
}
