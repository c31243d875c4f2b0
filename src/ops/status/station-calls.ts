import type { Observer } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import { copyString } from '../../lib/copy-string.ts'

/** Calls for one station. */
export interface StationCalls {
  readonly station: string
  readonly calls: number
}

/** Stations that are counted. Beyond that, half of them are dropped, those with the fewest calls. */
export const MAX_STATIONS = 2_000

/** Which stations cost most calls on this UTC day. */
export class CallsByStation {
  readonly observer: Partial<Observer>
  readonly #clock: Pick<Clock, 'wall'>
  readonly #calls = new Map<string, number>()
  #day = ''

  constructor(clock: Pick<Clock, 'wall'>) {
    this.#clock = clock
    this.observer = {
      stationCalled: (id) => {
        this.#startDay()
        const calls = this.#calls.get(id)
        if (calls === undefined && this.#calls.size >= MAX_STATIONS) this.#dropHalf()
        this.#calls.set(calls === undefined ? copyString(id) : id, (calls ?? 0) + 1)
      },
    }
  }

  /** The stations with most calls, in order. */
  most(count: number): StationCalls[] {
    this.#startDay()
    return this.#inOrder()
      .slice(0, count)
      .map(([station, calls]) => ({ station, calls }))
  }

  #startDay(): void {
    const day = new Date(this.#clock.wall()).toISOString().slice(0, 10)
    if (day === this.#day) return
    this.#day = day
    this.#calls.clear()
  }

  #dropHalf(): void {
    for (const [id] of this.#inOrder().slice(MAX_STATIONS / 2)) this.#calls.delete(id)
  }

  /** Of equal ones the latest first, which may only have begun to cost calls. */
  #inOrder(): [string, number][] {
    return [...this.#calls].toReversed().toSorted(([, a], [, b]) => b - a)
  }
}
