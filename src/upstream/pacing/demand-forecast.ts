import type { Clock } from '../../lib/clock.ts'
import { fitDailyDemand } from './diurnal-fit.ts'
import { RecentRate } from './recent-rate.ts'

const HOUR = 3_600_000
export const HOURS_A_DAY = 24
/** The current day has the same weight as all earlier days together. */
const WEIGHT_OF_TODAY = 0.5

/** Requests by hour of the UTC day, in any unit; null for hours never seen. */
export type HourlyShape = readonly (number | null)[]

/**
 * The demand now and by hour of the UTC day, learned from day to day. Hours never seen are taken from what an earlier
 * process has learned, or from a daily curve through those that were seen.
 */
export class DemandForecast {
  readonly #clock: Pick<Clock, 'wall'>
  /** Requests per ms by hour of the day; null until a whole hour was seen. */
  readonly #learned: (number | null)[] = Array.from({ length: HOURS_A_DAY }, () => null)
  #recordedAt: number
  #hourStartedAt: number
  #inThisHour = 0
  readonly #current = new RecentRate()
  /** What an earlier process has learned. Of use is the ratio of two hours: its share of the demand was another. */
  #restored: HourlyShape = []

  constructor(clock: Pick<Clock, 'wall'>) {
    this.#clock = clock
    this.#recordedAt = clock.wall()
    this.#hourStartedAt = this.#recordedAt
  }

  /** Adds the requests since the last call of this method. */
  record(requests: number): void {
    const now = this.#clock.wall()
    const elapsed = now - this.#recordedAt
    if (elapsed <= 0) return this.#startAt(now) // the wall clock went back by an unknown time
    if (hourOf(now) !== hourOf(this.#hourStartedAt)) this.#closeHour(now)
    this.#inThisHour += requests
    this.#current.record(requests, elapsed)
    this.#recordedAt = now
  }

  /** The current demand: requests per ms. */
  get perMs(): number {
    return this.#current.perMs
  }

  /** How long the demand has been observed. */
  get observedMs(): number {
    return this.#current.observedMs
  }

  /** What {@link restore} takes. */
  get shape(): HourlyShape {
    const scaled = this.#scaledShape()
    return this.#learned.map((demand, hour) => demand ?? scaled(hour))
  }

  /** Takes over what an earlier process has learned, for the hours that this one has not seen. */
  restore(shape: HourlyShape): void {
    this.#restored = shape
  }

  /**
   * The expected demand from now to `until` (ms since the epoch): periods of time, each with the ratio of its demand to
   * the current one.
   */
  expected(until: number): { readonly ms: number; readonly ratio: number }[] {
    const now = this.#clock.wall()
    const byHour = Array.from({ length: HOURS_A_DAY }, () => 0)
    const wholeDays = Math.floor((until - now) / (HOURS_A_DAY * HOUR))
    for (let hour = 0; hour < HOURS_A_DAY; hour++) byHour[hour] = wholeDays * HOUR
    for (let at = now + wholeDays * HOURS_A_DAY * HOUR; at < until;) {
      const end = Math.min(until, (Math.floor(at / HOUR) + 1) * HOUR)
      byHour[hourOf(at)] = (byHour[hourOf(at)] as number) + end - at
      at = end
    }
    const forecast = this.#forecast()
    const ratio = (hour: number) => (this.perMs === 0 ? 1 : forecast(hour) / this.perMs)
    return byHour.flatMap((ms, hour) => (ms === 0 ? [] : [{ ms, ratio: ratio(hour) }]))
  }

  /** The demand by hour of the day: the current one, that of earlier days, or that of the fitted curve. */
  #forecast(): (hour: number) => number {
    const current = { hour: (this.#recordedAt / HOUR) % HOURS_A_DAY, demand: this.perMs }
    const scaled = this.#scaledShape()
    const known = this.#learned.map((demand, hour) => demand ?? scaled(hour))
    const seen = known.flatMap((demand, hour) => (demand === null ? [] : [{ hour: hour + 0.5, demand }]))
    const curve = seen.length === HOURS_A_DAY ? null : fitDailyDemand([...seen, current])
    const mean = seen.reduce((sum, { demand }) => sum + demand, 0) / Math.max(1, seen.length)
    const unseen = curve ?? (() => Math.max(this.perMs, mean))
    return (hour) => (hour === Math.floor(current.hour) ? this.perMs : (known[hour] ?? unseen(hour + 0.5)))
  }

  /** What was restored, in units of the present demand; null where that is not known. */
  #scaledShape(): (hour: number) => number | null {
    const present = this.#restored[hourOf(this.#recordedAt)] ?? 0
    const scale = present > 0 ? this.perMs / present : 0
    return (hour) => {
      const demand = this.#restored[hour] ?? null
      return demand === null || scale === 0 ? null : demand * scale
    }
  }

  #closeHour(now: number): void {
    const started = this.#hourStartedAt
    const hour = hourOf(started)
    const wasWhole = now - started >= HOUR * 0.9 && now - started < HOUR * 1.5
    if (wasWhole) {
      const seen = this.#inThisHour / (now - started)
      const before = this.#learned[hour] ?? null
      this.#learned[hour] = before === null ? seen : before + (seen - before) * WEIGHT_OF_TODAY
    }
    this.#startAt(now)
  }

  #startAt(now: number): void {
    this.#recordedAt = now
    this.#hourStartedAt = now
    this.#inThisHour = 0
  }
}

function hourOf(wallMs: number): number {
  return new Date(wallMs).getUTCHours()
}
