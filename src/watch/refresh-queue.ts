/** A station in the queue. */
export interface Queued {
  /** Nobody waits for its events: it is only kept fresh. */
  readonly isBackground: boolean
}

/**
 * Stations whose refresh is due, in the order in which they get one: first those that clients watch, and of these the cold
 * ones, which have no answer. So a long WATCH_FILE does not delay the streams.
 */
export class RefreshQueue<T extends Queued> {
  readonly #cold: readonly [clients: Set<T>, background: Set<T>] = [new Set(), new Set()]
  readonly #due: readonly [clients: Set<T>, background: Set<T>] = [new Set(), new Set()]

  add(station: T, isCold: boolean): void {
    const [clients, background] = isCold ? this.#cold : this.#due
    ;(station.isBackground ? background : clients).add(station)
  }

  /** Whether the station was queued. */
  delete(station: T): boolean {
    return [...this.#cold, ...this.#due].filter((queue) => queue.delete(station)).length > 0
  }

  isCold(station: T): boolean {
    return this.#cold.some((queue) => queue.has(station))
  }

  get cold(): readonly T[] {
    return this.#cold.flatMap((queue) => [...queue])
  }

  get hasDue(): boolean {
    return this.#due.some(({ size }) => size > 0)
  }

  /** Takes the first station; undefined if there is none. With `coldOnly` the others stay. */
  take(coldOnly: boolean): T | undefined {
    const [coldOfClients, cold] = this.#cold
    const [dueOfClients, due] = this.#due
    const queues = coldOnly ? this.#cold : [coldOfClients, dueOfClients, cold, due]
    for (const queue of queues) {
      for (const station of queue) {
        queue.delete(station)
        return station
      }
    }
    return undefined
  }

  /** Takes all that are not cold. */
  takeDue(): T[] {
    const due = this.#due.flatMap((queue) => [...queue])
    for (const queue of this.#due) queue.clear()
    return due
  }
}
