import type { Metric, MetricObject, MetricValue } from 'prom-client'
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { Gauges, Observer } from '../../events.ts'
import type { Histogram } from './counters.ts'
import { MetricsRecorder } from './metrics-recorder.ts'
import type { Build, Family, Labels } from './metric-families.ts'
import { metricFamilies } from './metric-families.ts'

export interface Metrics {
  readonly observer: Partial<Observer>
  readonly contentType: string
  /** The exposition text of this moment. */
  readonly render: () => Promise<string>
}

type Value = MetricValue<string> & { readonly metricName?: string }

/**
 * What the parts say happened, as Prometheus metrics; the only module that knows prom-client. The registry is
 * this object's own.
 */
export function createMetrics(gauges: Gauges, build: Build): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const counts = new MetricsRecorder()
  for (const family of metricFamilies(counts, gauges, build)) registry.registerMetric(asMetric(family))
  const { observer } = counts
  return { observer, contentType: registry.contentType, render: () => registry.metrics() }
}

/** A metric whose values are read when somebody scrapes. prom-client asks no more of one than its `get`. */
function asMetric(family: Family): Metric {
  const { name, help, type } = family
  const get = async (): Promise<MetricObject> =>
    ({ name, help, type, aggregator: 'sum', values: valuesOf(family) }) as unknown as MetricObject
  return { name, get } as unknown as Metric
}

function valuesOf(family: Family): Value[] {
  if (family.type !== 'histogram') return family.read().map(([labels, value]) => ({ labels, value }))
  return family.read().flatMap(([labels, values]) => bucketValues(family.name, labels, values))
}

/** Buckets are cumulative on the wire: each counts all values up to its bound. */
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
