import { readFileSync } from 'node:fs'
import t from 'tap'
import * as events from '../../../src/events.ts'
import * as families from '../../../src/ops/metrics/metric-families.ts'
import * as recorder from '../../../src/ops/metrics/metrics-recorder.ts'

const root = new URL('../../../', import.meta.url)
const document = readFileSync(new URL('docs/metrics.md', root), 'utf8')
const script = (await import(new URL('scripts/metrics-table.mjs', root).href)) as {
  metricsTable: (modules: object) => string
  withTable: (text: string, table: string) => string
}

await t.test('docs/metrics.md has the table that scripts/metrics-table.mjs generates', async (t) => {
  const table = script.metricsTable({ ...families, ...recorder })
  t.match(table, /^\| `evproxy_requests_total` \| counter \| `format`, `status` \| .+\. \|$/m)
  t.equal(document, script.withTable(document, table))
})

await t.test('docs/metrics.md explains every value of the labels', async (t) => {
  const values = [
    ...events.CACHE_RESULTS,
    ...events.UPSTREAM_OUTCOMES,
    ...events.CIRCUIT_STATES,
    ...events.CLIENT_LIMITS,
    ...events.SHARED_RESULTS,
    ...events.FORMATS,
  ]
  t.strictSame(
    values.filter((value) => !document.includes(`\`${value}\``)),
    [],
  )
  t.match(document, ` ${events.STATUSES.join(' ')} |`)
})

await t.test('docs/metrics.md lists the buckets of every histogram', async (t) => {
  const { requestSeconds, attemptSeconds, ageSeconds } = new recorder.MetricsRecorder()
  const histograms = {
    evproxy_request_duration_seconds: requestSeconds.get('hit'),
    evproxy_upstream_request_duration_seconds: attemptSeconds,
    evproxy_cache_age_seconds: ageSeconds,
  }
  const rows = Object.entries(histograms).map(
    ([name, histogram]) => `| \`${name}\` | ${histogram?.bounds.join(' ')} |`,
  )
  t.strictSame(
    rows.filter((row) => !document.includes(row)),
    [],
  )
})
