/** The last `capacity` items pushed. Items are numbered from 1; the numbers of dropped items are not reused. */
export class RingBuffer<T> {
  readonly #items: T[] = []
  readonly #capacity: number
  #count = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** How many items were ever pushed, which is the number of the newest. */
  get count(): number {
    return this.#count
  }

  /** Drops the oldest item if the buffer is full. */
  push(item: T): void {
    this.#items[this.#count % this.#capacity] = item
    this.#count++
  }

  /** At most `limit` items with a number above `after`, the newest first. */
  newest(limit = this.#capacity, after = 0): T[] {
    const last = Math.max(after, this.#count - Math.min(limit, this.#capacity))
    const items: T[] = []
    for (let n = this.#count; n > last; n--) items.push(this.#items[(n - 1) % this.#capacity] as T)
    return items
  }
}
