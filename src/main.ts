import { readFileSync } from 'node:fs'
import closeWithGrace from 'close-with-grace'
import { ConfigError, loadConfig } from './config/load.ts'
import type { Config } from './config/load.ts'

/** EX_CONFIG of sysexits.h: invalid configuration. */
const EXIT_CONFIG = 78
/** DRAIN_TIMEOUT ends a drain; the process exits by force if the drain itself hangs for this much longer. */
const STOP_MARGIN_MS = 1_000
const SIGNALS = ['SIGTERM', 'SIGINT'] as const

const packageFile = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')

function configOrExit(): Config {
  try {
    return loadConfig(process.env, (path) => readFileSync(path, 'utf8'))
  } catch (error) {
    return exitIfInvalid(error)
  }
}

function exitIfInvalid(error: unknown): never {
  if (!(error instanceof ConfigError)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exit(EXIT_CONFIG)
}

/** In force until the app exists. PID 1 of a container has no default signal handlers: signals would be lost. */
const exitAtOnce = () => process.exit(0)
for (const signal of SIGNALS) process.once(signal, exitAtOnce)
const config = configOrExit()
// Imported late: loading takes most of the start time, and signals are handled meanwhile.
const { createApp } = await import('./app.ts')
const { version } = JSON.parse(packageFile('package.json')) as { version: string }
const app = await createApp(config, {
  version,
  nodeVersion: process.version,
  openapi: packageFile('openapi.yaml'),
  residentBytes: () => process.memoryUsage.rss(),
}).catch(exitIfInvalid)
for (const warning of config.warnings) app.log.warn({ setting: warning }, 'unknown setting')
if (config.upstream.quota !== null && config.stateDir === null && config.redis === null) {
  app.log.warn({ quota: config.upstream.quota }, 'a restart forgets what was spent of UPSTREAM_QUOTA')
}

closeWithGrace({ delay: config.drain.timeoutMs + STOP_MARGIN_MS, logger: false }, async ({ signal, err }) => {
  if (err) app.log.fatal({ err }, 'stopping after an unexpected error')
  else app.log.info({ signal }, 'stopping')
  await app.stop()
  app.log.info('stopped')
})
for (const signal of SIGNALS) process.off(signal, exitAtOnce)

const addresses = await app.start()
app.log.info({ version, ...addresses, settings: config.effective }, 'started')
