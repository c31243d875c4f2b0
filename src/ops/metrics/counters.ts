/**
 * Plain numbers, counted where a request passes and handed over when somebody scrapes: observing a prom-client
 * histogram for every request costs about a fifth of the throughput, this costs nothing measurable.
 */
export class LabelledCounter<L extends string> {
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

  /** Forgets every label but these. */
  keep(labels: readonly L[]): void {
    for (const label of this.counts.keys()) if (!labels.includes(label)) this.counts.delete(label)
  }
}

/** A cumulative histogram over fixed upper bounds, the last of them +Inf. */
export class Histogram {
  readonly bounds: readonly number[]
  /** How many values fell into each bucket, not added up; one more than there are bounds. */
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
