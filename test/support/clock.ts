import type { Clock } from '../../src/lib/clock.ts'

/** A clock that stands still until told: timers fire in order, inside `advance`. */
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

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.size
  }

  /** Lets the time pass, timer by timer, and what each sets going settle before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms
    for (;;) {
      await settled()
      const next = this.#next(end)
      if (next === undefined) break
      const [id, { at, callback }] = next
      this.#timers.delete(id)
      this.#moveTo(at)
      callback()
    }
    this.#moveTo(end)
    await settled()
  }

  /** The wall clock jumps, as when it is set; the monotonic one does not notice. */
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

/** After every promise that can settle by itself has done so. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
