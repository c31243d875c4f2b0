/** Rows whose slot of time is over, so their counts are final. */
export interface Rows {
  /** The slot of the first row; the others follow without a gap. */
  readonly from: number
  readonly rows: readonly (readonly number[])[]
}

/**
 * Counts by time in fixed memory: a row of counters for each slot of time (a second, a minute), where the newest row
 * overwrites the oldest. Slots are consecutive whole numbers; the caller maps time to slots.
 */
export class RollingCounters {
  readonly #slots: number
  readonly #width: number
  readonly #cells: Uint32Array
  readonly #first: number
  #newest: number

  /** Keeps `slots` rows of `width` counters. `first` is the slot in which counting begins. */
  constructor(slots: number, width: number, first: number) {
    this.#slots = slots
    this.#width = width
    this.#cells = new Uint32Array(slots * width)
    this.#first = first
    this.#newest = first
  }

  /** Makes `slot` the newest; skipped slots become rows of zeros. An earlier slot changes nothing. */
  advance(slot: number): void {
    const skipped = Math.min(slot - this.#newest, this.#slots)
    for (let i = 0; i < skipped; i++) this.#clear(slot - i)
    if (slot > this.#newest) this.#newest = slot
  }

  /** Increments a counter of the newest row. */
  count(column: number): void {
    const cell = this.#rowAt(this.#newest) + column
    this.#cells[cell] = (this.#cells[cell] as number) + 1
  }

  /** The kept rows after the slot `since`, without the newest row, which still changes. */
  completed(since: number): Rows {
    const oldest = Math.max(this.#first, this.#newest - this.#slots + 1)
    const from = Math.max(since + 1, oldest)
    const rows: number[][] = []
    for (let slot = from; slot < this.#newest; slot++) {
      const start = this.#rowAt(slot)
      rows.push([...this.#cells.subarray(start, start + this.#width)])
    }
    return { from, rows }
  }

  #rowAt(slot: number): number {
    return (slot % this.#slots) * this.#width
  }

  #clear(slot: number): void {
    const start = this.#rowAt(slot)
    this.#cells.fill(0, start, start + this.#width)
  }
}
