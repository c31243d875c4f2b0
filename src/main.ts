import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import { heapWarning } from './config/contradictions.ts'
import { ConfigError, loadConfig, secretNames } from './config/load.ts'
import type { Config } from './config/load.ts'
import type { App } from './app.ts'
import { readSmallFile } from './lib/small-file.ts'

/** EX_CONFIG of sysexits.h: invalid configuration. */
const EXIT_CONFIG = 78
/** EX_USAGE of sysexits.h: unknown command-line option. */
const EXIT_USAGE = 64
const USAGE = `usage: node dist/main.js [--check | --version]
  --check    validate the settings and STATE_DIR, print the settings with secrets masked, and exit: 0 if a start would
             accept them, else 78
  --version  print the version and exit
`
/** DRAIN_TIMEOUT ends a drain; so much later the process ends, whatever has not come to its end. */
const STOP_MARGIN_MS = 100
/** For the last log lines, on a busy machine too. A destination that takes none does not delay the exit any longer. */
const FLUSH_MS = 1_000
/** By then a start has waited for its files and its state directory, unless one of them is blocked. */
const BUSY_START_MS = 3_000
const TRY_EXIT_EVERY_MS = 5
const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const
/** SIGHUP would end the process, and SIGUSR1 would open Node's inspector. */
const IGNORED_SIGNALS = ['SIGHUP', 'SIGUSR1'] as const
/**
 * What `process.exit` waits for: lookups in DNS and files, pipes among them, which block a thread of libuv, and the thread of
 * a state directory that did not end when it was closed.
 */
const BLOCKING = /^(GetAddrInfo|GetNameInfo|FSReq|MessagePort)/

const packageFile = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')

const { version } = JSON.parse(packageFile('package.json')) as { version: string }

/** A log line of a process that has no logger yet, for those who read only the log. */
function writeFatal(fields: { readonly msg: string } & Readonly<Record<string, unknown>>): void {
  const service = { 'service.name': 'ev-availability-proxy', 'service.version': version }
  const line = { level: 'fatal', time: new Date().toISOString(), ...service, ...fields }
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

/** `--check` writes no log line. */
const noReport = () => {}

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

/**
 * `process.exit` waits for libuv's threads, and a lookup at a silent name server holds one for up to 40 s. The first
 * process of a container cannot be killed by itself, but can abort.
 */
function exit(code: number): never {
  if (!isThreadBusy()) process.exit(code)
  if (process.pid !== 1) process.kill(process.pid, 'SIGKILL')
  process.abort()
}

function isThreadBusy(): boolean {
  return process.getActiveResourcesInfo().some((name) => BLOCKING.test(name))
}

function configOrExit(report = writeFatal): Config {
  try {
    return loadConfig(process.env, readSmallFile)
  } catch (error) {
    return exitIfInvalid(error, report)
  }
}

function exitIfInvalid(error: unknown, report = writeFatal): never {
  if (!(error instanceof ConfigError)) throw error
  process.stderr.write(`${error.message}\n`)
  report({ msg: 'invalid configuration', problems: error.problems })
  process.exit(EXIT_CONFIG)
}

/** Ends the process for every command line but an empty one. */
async function handleOption([option, ...others]: readonly string[], version: string): Promise<void> {
  if (option === undefined) return
  if (others.length > 0 || (option !== '--check' && option !== '--version')) {
    process.stderr.write(USAGE)
    process.exit(EXIT_USAGE)
  }
  if (option === '--version') process.stdout.write(`${version}\n`)
  else printSettings(...(await checkedConfig()))
  process.exit(0)
}

/** The settings, and what a start would warn of because of STATE_DIR. Ends the process if a start would. */
async function checkedConfig(): Promise<[config: Config, stateWarnings: readonly string[]]> {
  const config = configOrExit(noReport)
  const { inspectStateDir } = await import('./app-state-dir.ts')
  try {
    return [config, config.stateDir === null ? [] : inspectStateDir(config.stateDir)]
  } catch (error) {
    return exitIfInvalid(error, noReport)
  }
}

function printSettings(config: Config, stateWarnings: readonly string[]): void {
  for (const [name, text] of Object.entries(config.effective)) process.stdout.write(`${name}=${text}\n`)
  for (const warning of [...config.warnings, ...heapWarnings(config), ...stateWarnings]) {
    process.stderr.write(`warning: ${warning}\n`)
  }
}

function heapWarnings(config: Config): string[] {
  const warning = heapWarning(config, getHeapStatistics().heap_size_limit)
  return warning === null ? [] : [warning]
}

/** Begins what takes as long as loading the app: reading the file in STATE_DIR. */
async function beginStateCheck(dir: string) {
  const { beginStateCheck: begin } = await import('./app-state-dir.ts')
  try {
    return begin(dir)
  } catch (error) {
    return exitIfInvalid(error)
  }
}

const ignore = () => {}

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref())

type Stop = (code: number, logReason: () => void) => Promise<never>

/** Drains at the first signal or error and ends the process in time; ends it at once at the second. */
function stopOnSignals(app: App, { drain }: Config): Stop {
  let isStopping = false
  const stop: Stop = async (code, logReason) => {
    if (isStopping) exit(1)
    isStopping = true
    logReason()
    setTimeout(exit, drain.timeoutMs + STOP_MARGIN_MS, 1)
    await app.stop()
    app.log.info('stopped')
    await otelPreload()
      ?.shutdown()
      .catch(() => {})
    await Promise.race([app.flushLog(), delay(FLUSH_MS)])
    return new Promise<never>(() => setImmediate(exit, code)) // when the write itself counts as ended
  }
  const fail = (error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error)
    if (!isStopping) process.stderr.write(`The service stops: ${reason}\n`) // whatever LOG_LEVEL is
    void stop(1, () => app.log.fatal({ err: error }, 'stopping after an unexpected error'))
  }
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)
  for (const signal of STOP_SIGNALS) {
    process.on(signal, () => void stop(0, () => app.log.info({ signal }, 'stopping')))
  }
  for (const signal of IGNORED_SIGNALS) process.on(signal, () => app.log.info({ signal }, 'signal ignored'))
  return stop
}

/**
 * Handles signals until the app exists, which then stops in order. While a start loads modules, a thread is busy most of the
 * time, and seldom blocked. PID 1 of a container has no default signal handlers: signals would be lost.
 */
function handleSignalsOfStart(): { handOver(stop: Stop, log: App['log']): Promise<void> } {
  let received: NodeJS.Signals | null = null
  let timer: NodeJS.Timeout | undefined
  const exitWhenFree = (deadline: number) => {
    if (!isThreadBusy() || performance.now() >= deadline) exit(0)
    timer = setTimeout(exitWhenFree, TRY_EXIT_EVERY_MS, deadline)
  }
  const onStop = (signal: NodeJS.Signals) => {
    received = signal
    clearTimeout(timer)
    exitWhenFree(performance.now() + BUSY_START_MS)
  }
  for (const signal of STOP_SIGNALS) process.once(signal, onStop)
  for (const signal of IGNORED_SIGNALS) process.on(signal, ignore)
  return {
    handOver: async (stop, log) => {
      clearTimeout(timer)
      for (const signal of STOP_SIGNALS) process.off(signal, onStop)
      for (const signal of IGNORED_SIGNALS) process.off(signal, ignore)
      if (received !== null) await stop(0, () => log.info({ signal: received }, 'stopping'))
    },
  }
}

const signalsOfStart = handleSignalsOfStart()
await handleOption(process.argv.slice(2), version)
const config = configOrExit()
// The rest of the process, diagnostic reports included, has no use for them.
for (const name of secretNames()) delete process.env[name]
const stateCheck = config.stateDir === null ? null : await beginStateCheck(config.stateDir)
// Imported late: loading takes most of the start time, and signals are handled meanwhile.
const { createApp } = await import('./app.ts')
const app = await createApp(config, {
  version,
  nodeVersion: process.version,
  instance: hostname(),
  openapi: packageFile('openapi.yaml'),
  residentBytes: () => process.memoryUsage.rss(),
  stateCheck,
}).catch((error: unknown) => exitIfInvalid(error))
for (const warning of config.warnings) app.log.warn({ setting: warning }, 'unknown setting')
if (isTracedUnsafely()) app.log.warn('OpenTelemetry is loaded without otel.js and exports keys')
for (const warning of heapWarnings(config)) app.log.warn({ setting: warning }, 'unsuitable setting')
if (config.upstream.quota !== null && config.stateDir === null && config.redis === null) {
  const { limit, per } = config.upstream.quota
  app.log.warn({ quota: `${limit}/${per}` }, 'a restart forgets what was spent of UPSTREAM_QUOTA')
}
const stop = stopOnSignals(app, config)
await signalsOfStart.handOver(stop, app.log)

const addresses = await app.start().catch((err: Error) => {
  process.stderr.write(`Cannot listen: ${err.message}\n`)
  return stop(1, () => app.log.fatal({ err }, 'cannot listen'))
})
app.log.info({ version, ...addresses, settings: config.effective }, 'started')
