import type { Histogram, LabelledCounter } from './counters.ts'

export type Labels = Readonly<Record<string, string>>
/** A value and its labels; a histogram's value is the histogram. */
export type Series<V> = readonly [labels: Labels, value: V]

/** One metric. `read` returns its current series. docs/metrics.md is generated from these. */
export type Family = { readonly name: string; readonly help: string } & (
  | { readonly type: 'counter' | 'gauge'; readonly read: () => readonly Series<number>[] }
  | { readonly type: 'histogram'; readonly read: () => readonly Series<Histogram>[] }
)

type Definition<V> = (name: string, help: string, read: () => readonly Series<V>[]) => Family

export const counter: Definition<number> = (name, help, read) => ({ name, help, type: 'counter', read })
export const gauge: Definition<number> = (name, help, read) => ({ name, help, type: 'gauge', read })
export const histogram: Definition<Histogram> = (name, help, read) => ({
  name,
  help,
  type: 'histogram',
  read,
})

/** One series without labels. */
export function single<V>(value: V): readonly Series<V>[] {
  return [[{}, value]]
}

export function seriesOf(counter: LabelledCounter<string>, label: string): readonly Series<number>[] {
  return [...counter.counts].map(([value, count]) => [{ [label]: value }, count])
}

/** No series for null. */
export function optional<T>(value: T | null, read: (value: T) => number): readonly Series<number>[] {
  return value === null ? [] : single(read(value))
}
