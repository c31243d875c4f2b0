import type { Clock } from '../../lib/clock.ts'
import { fitDailyDemand } from './diurnal-fit.ts'

const HOUR = 3_600_000
const HOURS_A_DAY = 24
/** What an hour was on earlier days counts as much as what it is today. */
const WEIGHT_OF_TODAY = 0.5
/** The present demand is a mean over about this time. */
const PRESENT_MS = 1_800_000

/**
 * How much is asked for, now and by the hour of the UTC day, learned from day to day. Hours never seen are read off
 * the curve of a day through those that were.
 */
export class DemandForecast {
  readonly #clock: Pick<Clock, 'wall'>
  /** Requests per ms by hour of the day; null until the hour was seen whole. */
  readonly #learned: (number | null)[] = Array.from({ length: HOURS_A_DAY }, () => null)
  #notedAt: number
  #hourStartedAt: number
  #inThisHour = 0
  #present = 0
  #observedMs = 0

  constructor(clock: Pick<Clock, 'wall'>) {
    this.#clock = clock
    this.#notedAt = clock.wall()
    this.#hourStartedAt = this.#notedAt
  }

  /** So many requests came since the last note. */
  record(requests: number): void {
    const now = this.#clock.wall()
    const elapsed = now - this.#notedAt
    if (elapsed <= 0) return this.#startAt(now) // the wall clock went back, and nobody knows by how much
    if (hourOf(now) !== hourOf(this.#hourStartedAt)) this.#closeHour(now)
    this.#inThisHour += requests
    this.#observedMs += elapsed
    const memory = Math.min(this.#observedMs, PRESENT_MS)
    const weight = Math.min(1, elapsed / memory)
    this.#present += (requests / elapsed - this.#present) * weight
    this.#notedAt = now
  }

  /** The present demand: requests per ms. */
  get perMs(): number {
    return this.#present
  }

  /**
   * The demand that is expected from now to `until` (ms since the epoch), as parts of the time each with its demand
   * in relation to the present one.
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
    const ratio = (hour: number) => (this.#present === 0 ? 1 : forecast(hour) / this.#present)
    return byHour.flatMap((ms, hour) => (ms === 0 ? [] : [{ ms, ratio: ratio(hour) }]))
  }

  /** The demand by hour of the day: now, as on earlier days, or as a day with such hours would have it. */
  #forecast(): (hour: number) => number {
    const present = { hour: (this.#notedAt / HOUR) % HOURS_A_DAY, demand: this.#present }
    const seen = this.#learned.flatMap((demand, hour) =>
      demand === null ? [] : [{ hour: hour + 0.5, demand }],
    )
    const curve = seen.length === HOURS_A_DAY ? null : fitDailyDemand([...seen, present])
    const unseen = curve ?? (() => Math.max(this.#present, this.#mean()))
    return (hour) =>
      hour === Math.floor(present.hour) ? this.#present : (this.#learned[hour] ?? unseen(hour + 0.5))
  }

  #mean(): number {
    const known = this.#learned.filter((demand) => demand !== null)
    return known.length === 0 ? this.#present : known.reduce((sum, demand) => sum + demand, 0) / known.length
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
    this.#notedAt = now
    this.#hourStartedAt = now
    this.#inThisHour = 0
  }
}

function hourOf(wallMs: number): number {
  return new Date(wallMs).getUTCHours()
}
