/**
 * A counter for each label value. Plain numbers that are read at a scrape: observing a prom-client histogram for every
 * request costs about a fifth of the throughput, this costs nothing measurable.
 */
export class LabelledCounter<L extends string | number> {
  readonly counts: Map<L, number>

  constructor(labels: readonly L[]) {
    this.counts = new Map(labels.map((label) => [label, 0]))
  }

  add(label: L): void {
    this.counts.set(label, this.of(label) + 1)
  }

  of(label: L): number {
    return this.counts.get(label) ?? 0
  }

  /** Removes every label value that is not in the list. */
  retain(labels: readonly L[]): void {
    for (const label of this.counts.keys()) if (!labels.includes(label)) this.counts.delete(label)
  }
}

/** A histogram over fixed upper bounds; the last bucket has the bound +Inf. */
export class Histogram {
  readonly bounds: readonly number[]
  /** The number of values in each bucket, not cumulative. Its length is `bounds.length + 1`. */
  readonly buckets: number[]
  sum = 0
  count = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.buckets = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  observe(value: number): void {
    let i = 0
    while (i < this.bounds.length && value > (this.bounds[i] as number)) i++
    this.buckets[i] = (this.buckets[i] as number) + 1
    this.sum += value
    this.count++
  }
}
