import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import closeWithGrace from 'close-with-grace'
import { ConfigError, loadConfig } from './config/load.ts'
import type { Config } from './config/load.ts'

/** EX_CONFIG of sysexits.h: invalid configuration. */
const EXIT_CONFIG = 78
/** DRAIN_TIMEOUT ends a drain; the process exits by force if the drain itself hangs for this much longer. */
const STOP_MARGIN_MS = 1_000
const SIGNALS = ['SIGTERM', 'SIGINT'] as const

const packageFile = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')

const { version } = JSON.parse(packageFile('package.json')) as { version: string }

/** A log line of a process that has no logger yet, for those who read only the log. */
function writeFatal(fields: { readonly msg: string } & Readonly<Record<string, unknown>>): void {
  const service = { 'service.name': 'ev-availability-proxy', 'service.version': version }
  const line = { level: 'fatal', time: new Date().toISOString(), ...service, ...fields }
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

/** What otel.ts leaves behind when it is loaded. */
function otelPreload(): { shutdown(): Promise<void> } | undefined {
  const known = globalThis as { [name: symbol]: { shutdown(): Promise<void> } | undefined }
  return known[Symbol.for('ev-availability-proxy.opentelemetry')]
}

/** Instrumentation that exports URLs, and so keys: of OpenTelemetry without otel.ts, or of another vendor. */
function isTracedUnsafely(): boolean {
  const preloads = [process.env['NODE_OPTIONS'] ?? '', ...process.execArgv].join(' ')
  if (/auto-?instrumentation|dd-trace|newrelic|elastic-apm/.test(preloads)) return true
  return Symbol.for('opentelemetry.js.api.1') in globalThis && otelPreload() === undefined
}

function configOrExit(): Config {
  try {
    return loadConfig(process.env, (path) => readFileSync(path, 'utf8'))
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    writeFatal({ msg: 'invalid configuration', problems: error.problems })
    process.exit(EXIT_CONFIG)
  }
}

/** In force until the app exists. PID 1 of a container has no default signal handlers: signals would be lost. */
const exitAtOnce = () => process.exit(0)
for (const signal of SIGNALS) process.once(signal, exitAtOnce)
const config = configOrExit()
// Imported late: loading takes most of the start time, and signals are handled meanwhile.
const { createApp } = await import('./app.ts')
const app = await createApp(config, {
  version,
  nodeVersion: process.version,
  instance: hostname(),
  openapi: packageFile('openapi.yaml'),
  residentBytes: () => process.memoryUsage.rss(),
})
for (const warning of config.warnings) app.log.warn({ setting: warning }, 'unknown setting')
if (isTracedUnsafely()) app.log.warn('OpenTelemetry is loaded without otel.js and exports keys')

closeWithGrace({ delay: config.drain.timeoutMs + STOP_MARGIN_MS, logger: false }, async ({ signal, err }) => {
  if (err) app.log.fatal({ err }, 'stopping after an unexpected error')
  else app.log.info({ signal }, 'stopping')
  await app.stop()
  app.log.info('stopped')
  await otelPreload()
    ?.shutdown()
    .catch(() => {})
})
for (const signal of SIGNALS) process.off(signal, exitAtOnce)

const addresses = await app.start().catch(async (err: Error) => {
  app.log.fatal({ err }, 'cannot listen')
  process.stderr.write(`Cannot listen: ${err.message}\n`)
  await app.stop()
  process.exit(1)
})
app.log.info({ version, ...addresses, settings: config.effective }, 'started')
