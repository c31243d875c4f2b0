import type { Metric, MetricObject, MetricValue } from 'prom-client'
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { Gauges } from '../../gauges.ts'
import type { Histogram } from './counters.ts'
import type { Family, Labels } from './family.ts'
import type { Build } from './metric-families.ts'
import { metricFamilies } from './metric-families.ts'
import type { MetricsRecorder } from './metrics-recorder.ts'

export interface Metrics {
  readonly contentType: string
  /** The current values in the Prometheus text format. Scrapes that come together share one rendering. */
  readonly render: () => Promise<Buffer>
}

type Value = MetricValue<string> & { readonly metricName?: string }

/** The recorded events, the gauges and Node's default metrics, in a registry of their own. The only user of prom-client. */
export function createMetrics(recorder: MetricsRecorder, gauges: Gauges, build: Build): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const family of metricFamilies(recorder, gauges, build)) registry.registerMetric(asMetric(family))
  let rendering: Promise<Buffer> | null = null
  const render = async () => {
    try {
      return Buffer.from(await registry.metrics())
    } finally {
      rendering = null
    }
  }
  return { contentType: registry.contentType, render: () => (rendering ??= render()) }
}

/** A metric whose values are read at a scrape. prom-client's own histogram cannot be set to values counted elsewhere. */
function asMetric(family: Family): Metric {
  const { name, help, type } = family
  const get = async () => ({ name, help, type, aggregator: 'sum', values: valuesOf(family) })
  // The cast is safe: a registry uses `name` and `get` alone, but its type asks for one of prom-client's classes.
  return { name, get } satisfies RegisteredMetric as unknown as Metric
}

/** What a registry of prom-client 15 uses of a metric. */
interface RegisteredMetric {
  readonly name: string
  readonly get: () => Promise<Pick<MetricObject, 'name' | 'help'> & { readonly values: readonly Value[] }>
}

function valuesOf(family: Family): Value[] {
  if (family.type !== 'histogram') return family.read().map(([labels, value]) => ({ labels, value }))
  return family.read().flatMap(([labels, values]) => bucketValues(family.name, labels, values))
}

/** In the text format buckets are cumulative: each counts all values up to its bound. */
function bucketValues(name: string, labels: Labels, { bounds, buckets, sum, count }: Histogram): Value[] {
  let upTo = 0
  const cumulative = buckets.map((inBucket, i) => {
    upTo += inBucket
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bounds[i] ?? '+Inf' }, value: upTo }
  })
  return [
    ...cumulative,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ]
}
