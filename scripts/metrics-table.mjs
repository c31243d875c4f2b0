// Writes the table of metrics into docs/metrics.md from src/ops/metrics/metric-families.ts (needs a build): npm run docs:metrics
import { readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** Gauges of a service with every optional part configured, so that every metric has a series. */
const GAUGES = {
  access: () => ({ clients: ['web'], isLimited: true }),
  cache: () => ({ entries: 0, bytes: 0 }),
  waiting: () => ({ bytes: 0, limitBytes: 0 }),
  upstream: () => ({ inFlight: 0, queued: 0, circuit: 'closed', callsPerSecond: 1 }),
  quota: () => ({ limit: 1, remaining: 1, resetAtMs: 0 }),
  pacing: () => ({
    projectedRemaining: 1,
    isRationing: false,
    unknownIdsRemaining: 1,
    estimatedCorrectRatio: 1,
  }),
  live: () => ({ stream: 0, long_poll: 0, stations: 0 }),
  effectiveTtlMs: () => 0,
  sharedCacheUp: () => true,
}

/** The table as Markdown, made with the exports of metric-families and metrics-recorder. */
export function metricsTable({ metricFamilies, MetricsRecorder }) {
  const families = metricFamilies(new MetricsRecorder(), GAUGES, { version: '', nodeVersion: '' })
  const rows = families.map(
    ({ name, type, help, read }) => `| \`${name}\` | ${type} | ${labelsOf(read())} | ${help} |`,
  )
  return ['| metric | type | labels | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

/** Replaces the table in the text of docs/metrics.md. */
export function withTable(text, table) {
  return text.replace(
    /<!-- metrics -->[^]*<!-- \/metrics -->/,
    () => `<!-- metrics -->\n\n${table}\n\n<!-- /metrics -->`,
  )
}

function labelsOf(series) {
  const names = Object.keys(series[0]?.[0] ?? {})
  return names.length === 0 ? '–' : names.map((name) => `\`${name}\``).join(', ')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { metricFamilies } = await import('../dist/ops/metrics/metric-families.js')
  const { MetricsRecorder } = await import('../dist/ops/metrics/metrics-recorder.js')
  const file = new URL('../docs/metrics.md', import.meta.url)
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, withTable(text, metricsTable({ metricFamilies, MetricsRecorder })))
}
