import { readFileSync } from 'node:fs'
import { getHeapStatistics } from 'node:v8'
import closeWithGrace from 'close-with-grace'
import { heapWarning } from './config/contradictions.ts'
import { ConfigError, loadConfig } from './config/load.ts'
import type { Config } from './config/load.ts'

/** EX_CONFIG of sysexits.h: invalid configuration. */
const EXIT_CONFIG = 78
/** EX_USAGE of sysexits.h: unknown command-line option. */
const EXIT_USAGE = 64
const USAGE = `usage: node dist/main.js [--check | --version]
  --check    validate the settings, print them with secrets masked, and exit: 0 if they are valid, else 78
  --version  print the version and exit
`
/** DRAIN_TIMEOUT ends a drain; the process exits by force if the drain itself hangs for this much longer. */
const STOP_MARGIN_MS = 1_000
const SIGNALS = ['SIGTERM', 'SIGINT'] as const

const packageFile = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')

function configOrExit(): Config {
  try {
    return loadConfig(process.env, (path) => readFileSync(path, 'utf8'))
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(EXIT_CONFIG)
  }
}

/** Ends the process for every command line but an empty one. */
function handleOption([option, ...others]: readonly string[], version: string): void {
  if (option === undefined) return
  if (others.length > 0 || (option !== '--check' && option !== '--version')) {
    process.stderr.write(USAGE)
    process.exit(EXIT_USAGE)
  }
  if (option === '--version') process.stdout.write(`${version}\n`)
  else printSettings(configOrExit())
  process.exit(0)
}

function printSettings(config: Config): void {
  for (const [name, text] of Object.entries(config.effective)) process.stdout.write(`${name}=${text}\n`)
  for (const warning of [...config.warnings, ...heapWarnings(config)]) {
    process.stderr.write(`warning: ${warning}\n`)
  }
}

function heapWarnings(config: Config): string[] {
  const warning = heapWarning(config, getHeapStatistics().heap_size_limit)
  return warning === null ? [] : [warning]
}

/** In force until the app exists. PID 1 of a container has no default signal handlers: signals would be lost. */
const exitAtOnce = () => process.exit(0)
for (const signal of SIGNALS) process.once(signal, exitAtOnce)
const { version } = JSON.parse(packageFile('package.json')) as { version: string }
handleOption(process.argv.slice(2), version)
const config = configOrExit()
// Imported late: loading takes most of the start time, and signals are handled meanwhile.
const { createApp } = await import('./app.ts')
const app = await createApp(config, {
  version,
  nodeVersion: process.version,
  openapi: packageFile('openapi.yaml'),
  residentBytes: () => process.memoryUsage.rss(),
})
for (const warning of config.warnings) app.log.warn({ setting: warning }, 'unknown setting')
for (const warning of heapWarnings(config)) app.log.warn({ setting: warning }, 'unsuitable setting')

closeWithGrace({ delay: config.drain.timeoutMs + STOP_MARGIN_MS, logger: false }, async ({ signal, err }) => {
  if (err) app.log.fatal({ err }, 'stopping after an unexpected error')
  else app.log.info({ signal }, 'stopping')
  await app.stop()
  app.log.info('stopped')
})
for (const signal of SIGNALS) process.off(signal, exitAtOnce)

const addresses = await app.start()
app.log.info({ version, ...addresses, settings: config.effective }, 'started')
