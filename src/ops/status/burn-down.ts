import type { Clock } from '../../lib/clock.ts'

/** The quota at this moment. */
export interface QuotaNow {
  readonly limit: number
  readonly remaining: number
  /** Milliseconds since the epoch. */
  readonly resetAtMs: number
}

/** What remained at a time in ms since the epoch. */
interface Note {
  readonly at: number
  readonly remaining: number
}

/** Where the quota is going, if the last hour goes on. */
export interface Projection {
  /** Calls an hour, measured over up to an hour. */
  readonly perHour: number
  /** Calls left at the reset; negative for those that will be missing. */
  readonly remainingAtReset: number
  /** When it will be spent, in ms since the epoch; null if it lasts. */
  readonly spentAtMs: number | null
}

/** So many points are kept of a period: one in five minutes of a day. */
export const POINTS = 288
const MINUTE = 60_000
const HOUR = 3_600_000
/** Less than this tells nothing of an hour. */
const SHORTEST_MS = 120_000

/** How the quota of a period is used up: its points from the period's start, and a projection to the reset. */
export class BurnDown {
  readonly #read: () => QuotaNow | null
  readonly #per: 'day' | 'month'
  readonly #clock: Pick<Clock, 'wall'>
  /** What remained at the last note of each part of the period; NaN where nothing was noted. */
  readonly #points = new Float64Array(POINTS).fill(Number.NaN)
  #notes: Note[] = []
  #resetAtMs = 0

  constructor(read: () => QuotaNow | null, per: 'day' | 'month', clock: Pick<Clock, 'wall'>) {
    this.#read = read
    this.#per = per
    this.#clock = clock
  }

  /** Notes what remains now: to be called whenever that may have changed. */
  note(): void {
    const quota = this.#read()
    if (quota === null) return
    const now = this.#clock.wall()
    if (quota.resetAtMs !== this.#resetAtMs) this.#begin(quota.resetAtMs)
    this.#points[this.#partOf(now)] = quota.remaining
    this.#noteMinute(now, quota.remaining)
  }

  /** When the period began, in ms since the epoch. */
  get startedAtMs(): number {
    const reset = new Date(this.#resetAtMs)
    return this.#per === 'day'
      ? this.#resetAtMs - 24 * HOUR
      : Date.UTC(reset.getUTCFullYear(), reset.getUTCMonth() - 1)
  }

  /** How long each part of the period is, in ms. */
  get partMs(): number {
    return (this.#resetAtMs - this.startedAtMs) / POINTS
  }

  /** `[part, calls left at its end]`, counted from 0, of the parts that were not over at `sinceMs`. */
  points(sinceMs: number): (readonly [part: number, remaining: number])[] {
    const first = this.#partOf(sinceMs)
    return [...this.#points.entries()].filter(([part, left]) => part >= first && !Number.isNaN(left))
  }

  /** Null while too little is known, and without a quota. */
  projection(): Projection | null {
    const quota = this.#read()
    const [oldest] = this.#notes
    const now = this.#clock.wall()
    if (quota === null || oldest === undefined || now - oldest.at < SHORTEST_MS) return null
    const perMs = Math.max(0, oldest.remaining - quota.remaining) / (now - oldest.at)
    const remainingAtReset = Math.round(quota.remaining - perMs * (quota.resetAtMs - now))
    const spentAtMs = remainingAtReset < 0 ? Math.round(now + quota.remaining / perMs) : null
    return { perHour: perMs * HOUR, remainingAtReset, spentAtMs }
  }

  #begin(resetAtMs: number): void {
    this.#points.fill(Number.NaN)
    this.#notes = []
    this.#resetAtMs = resetAtMs
  }

  /** Notes at least a minute apart: those of the last hour, and the last one before it to reckon from. */
  #noteMinute(now: number, remaining: number): void {
    const notes = this.#notes
    const last = notes.at(-1)
    if (last === undefined || now - last.at >= MINUTE) notes.push({ at: now, remaining })
    while (notes.length > 1 && now - (notes[1] as Note).at >= HOUR) notes.shift()
  }

  #partOf(atMs: number): number {
    const part = Math.floor((atMs - this.startedAtMs) / this.partMs)
    return Math.max(0, Math.min(POINTS - 1, part))
  }
}
