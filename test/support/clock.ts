import type { Clock } from '../../src/lib/clock.ts'
import { systemClock } from '../../src/lib/clock.ts'

/** A clock that only `advance` moves; timers fire in order, inside `advance`. */
export class TestClock implements Clock {
  #nowMs = 1_000_000
  #wallMs = Date.UTC(2026, 0, 15, 12)
  #nextId = 0
  readonly #timers = new Map<number, { readonly at: number; readonly callback: () => void }>()

  readonly now = (): number => this.#nowMs
  readonly wall = (): number => this.#wallMs

  readonly after = (ms: number, callback: () => void): (() => void) => {
    const id = this.#nextId++
    this.#timers.set(id, { at: this.#nowMs + ms, callback })
    return () => {
      this.#timers.delete(id)
    }
  }

  /** Number of pending timers. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves the time from timer to timer; promises settle before the next timer fires. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms
    for (;;) {
      await settled()
      const next = this.#next(end)
      if (next === undefined) break
      const [id, { at, callback }] = next
      this.#timers.delete(id)
      this.#moveTo(Math.max(at, this.#nowMs))
      callback()
    }
    this.#moveTo(end)
    await settled()
  }

  /** The process stands still: the time moves on, and timers that are due fire with the next `advance`. */
  stall(ms: number): void {
    this.#moveTo(this.#nowMs + ms)
  }

  /** Sets the wall clock; the monotonic clock is not affected. */
  setWall(ms: number): void {
    this.#wallMs = ms
  }

  #next(end: number) {
    return [...this.#timers].filter(([, timer]) => timer.at <= end).toSorted(([, a], [, b]) => a.at - b.at)[0]
  }

  #moveTo(at: number): void {
    this.#wallMs += at - this.#nowMs
    this.#nowMs = at
  }
}

/** Resolves after all promises that need no I/O and no timer have settled. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/**
 * The system's clock, which can be stopped for steps that must follow each other within a time of the service, however
 * long they take on a loaded machine.
 */
export class StoppableClock implements Clock {
  #stoppedAt: number | null = null
  #holdsTimers = false
  readonly #held = new Set<() => void>()

  readonly now = (): number => this.#stoppedAt ?? systemClock.now()
  readonly wall = (): number => systemClock.wall()

  readonly after = (ms: number, callback: () => void): (() => void) => {
    if (!this.#holdsTimers) return systemClock.after(ms, callback)
    let cancel: () => void = () => void this.#held.delete(begin)
    const begin = (): void => {
      cancel = systemClock.after(ms, callback)
    }
    this.#held.add(begin)
    return () => cancel()
  }

  /** Timers go on; with `holdsTimers` those that are set from now on begin when the clock does. */
  stop({ holdsTimers = false } = {}): void {
    this.#stoppedAt = systemClock.now()
    this.#holdsTimers = holdsTimers
  }

  /** The time that has passed meanwhile has passed for the service as well. */
  goOn(): void {
    this.#stoppedAt = null
    this.#holdsTimers = false
    for (const begin of this.#held) begin()
    this.#held.clear()
  }
}
