/** A part of the history, collected from successive reports: a row of numbers for each slot of time. */
export class Series {
  #from = 0
  #rows = []
  #maxRows

  /** Keeps the last `maxRows` rows. */
  constructor(maxRows) {
    this.#maxRows = maxRows
  }

  /** Adds the rows of a report. If rows are missing in between, the earlier ones are dropped. */
  add({ from, rows }) {
    if (rows.length === 0) return
    if (from !== this.#from + this.#rows.length) this.#rows = []
    if (this.#rows.length === 0) this.#from = from
    this.#rows.push(...rows)
    const surplus = Math.max(0, this.#rows.length - this.#maxRows)
    this.#rows.splice(0, surplus)
    this.#from += surplus
  }

  clear() {
    this.#rows = []
  }

  /** The slot after the last row. */
  get end() {
    return this.#from + this.#rows.length
  }

  /** The sum of the columns over the last `slots` rows, and the number of rows there were. */
  recent(columns, slots) {
    const rows = this.#rows.slice(-slots)
    const sum = rows.reduce((all, row) => all + columns.reduce((part, column) => part + row[column], 0), 0)
    return { sum, rows: rows.length }
  }

  /**
   * The mean of the columns over bins of `size` slots, the bins beginning at multiples of `size`: the first slot of
   * each bin, and for each column its means.
   */
  binned(columns, size) {
    const starts = []
    const means = columns.map(() => [])
    for (let at = 0; at < this.#rows.length;) {
      const slot = this.#from + at
      const end = Math.min(this.#rows.length, at + size - (slot % size))
      starts.push(slot - (slot % size))
      for (const [i, column] of columns.entries()) {
        let sum = 0
        for (let row = at; row < end; row++) sum += this.#rows[row][column]
        means[i].push(sum / (end - at))
      }
      at = end
    }
    return { starts, means }
  }
}
