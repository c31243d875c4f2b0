/** Rows of a ring that are over and change no more. */
export interface Rows {
  /** The slot of the first row; the others follow without a gap. */
  readonly from: number
  readonly rows: readonly (readonly number[])[]
}

/**
 * Counts by time, in fixed memory: a row of numbers for each slot of time (a second, a minute), the oldest
 * overwritten by the newest. Slots are whole numbers that rise by one a slot; nobody but the caller knows a clock.
 */
export class RollingCounters {
  readonly #slots: number
  readonly #width: number
  readonly #cells: Uint32Array
  readonly #first: number
  #newest: number

  /** Keeps `slots` rows of `width` numbers, the slot `first` being the earliest of which anything is known. */
  constructor(slots: number, width: number, first: number) {
    this.#slots = slots
    this.#width = width
    this.#cells = new Uint32Array(slots * width)
    this.#first = first
    this.#newest = first
  }

  /** Makes `slot` the newest; those skipped are rows of zeros. A slot that is past already changes nothing. */
  advance(slot: number): void {
    const skipped = Math.min(slot - this.#newest, this.#slots)
    for (let i = 0; i < skipped; i++) this.#clear(slot - i)
    if (slot > this.#newest) this.#newest = slot
  }

  /** Counts one in the newest row. */
  count(column: number): void {
    const cell = this.#rowAt(this.#newest) + column
    this.#cells[cell] = (this.#cells[cell] as number) + 1
  }

  /** The rows after the slot `since` that are kept and over: all but the newest. Only the first `columns` numbers. */
  closed(since: number, columns = this.#width): Rows {
    const from = Math.max(since + 1, this.#oldest())
    const rows: number[][] = []
    for (let slot = from; slot < this.#newest; slot++) {
      const start = this.#rowAt(slot)
      rows.push([...this.#cells.subarray(start, start + columns)])
    }
    return { from, rows }
  }

  /** The sums of the columns from `from` up to, not including, `to`, over all rows kept. */
  sums(from: number, to: number): number[] {
    const sums = Array.from({ length: to - from }, () => 0)
    for (let slot = this.#oldest(); slot <= this.#newest; slot++) {
      const start = this.#rowAt(slot) + from
      for (let i = 0; i < sums.length; i++) {
        sums[i] = (sums[i] as number) + (this.#cells[start + i] as number)
      }
    }
    return sums
  }

  #oldest(): number {
    return Math.max(this.#first, this.#newest - this.#slots + 1)
  }

  #rowAt(slot: number): number {
    return (slot % this.#slots) * this.#width
  }

  #clear(slot: number): void {
    const start = this.#rowAt(slot)
    this.#cells.fill(0, start, start + this.#width)
  }
}
