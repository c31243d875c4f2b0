import type { AddressInfo } from 'node:net'
import { getHeapStatistics } from 'node:v8'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { createCacheStack } from './app-cache.ts'
import { becomeReady } from './app-ready.ts'
import { watchSettings } from './app-settings.ts'
import type { LiveStack } from './app-live.ts'
import { createLive } from './app-live.ts'
import type { Cache } from './cache/cache.ts'
import { createClients } from './clients/clients.ts'
import type { Clients } from './clients/clients.ts'
import type { Config } from './config/load.ts'
import type { Observer } from './events.ts'
import type { Gauges } from './gauges.ts'
import { createEventBus } from './app-event-bus.ts'
import { createDrain } from './http/drain.ts'
import { createPublicServer } from './http/server.ts'
import type { ByteBudget } from './lib/byte-budget.ts'
import { waitingBudget } from './lib/byte-budget.ts'
import type { Clock } from './lib/clock.ts'
import { systemClock } from './lib/clock.ts'
import { stationInspector } from './app-inspector.ts'
import { listen } from './lib/listen.ts'
import { Turns } from './lib/turns.ts'
import { createAdminServer } from './ops/admin-server.ts'
import { watchFileDescriptors } from './ops/file-descriptors.ts'
import { Health } from './ops/health.ts'
import type { LogDestination } from './ops/log/destination.ts'
import { createLogDestination } from './ops/log/destination.ts'
import { createEventLog } from './ops/log/event-log.ts'
import { createLogger, redact } from './ops/log/logger.ts'
import { createMetrics } from './ops/metrics/metrics.ts'
import { MetricsRecorder } from './ops/metrics/metrics-recorder.ts'
import type { StationInspector } from './ops/status/status-routes.ts'
import { Status } from './ops/status/status.ts'
import type { EarlyCheck } from './state-dir/check-file.ts'
import { openApiKey } from './upstream/tomtom/api-key.ts'

/** What the app needs from the process. */
export interface RuntimeInfo {
  readonly version: string
  readonly nodeVersion: string
  /** Which replica this is, such as its host name. */
  readonly instance?: string
  /** The text of openapi.yaml. */
  readonly openapi: string
  /** Destination of log lines; standard output if absent. */
  readonly logDestination?: Pick<LogDestination, 'write'> & Partial<LogDestination>
  /** The system's clock if absent. */
  readonly clock?: Clock
  /** Resident memory of the process, in bytes. */
  readonly residentBytes?: () => number
  /** A check of the file in STATE_DIR that has begun already. */
  readonly stateCheck?: EarlyCheck | null
}

export interface Addresses {
  readonly public: AddressInfo
  readonly admin: AddressInfo
}

export interface App {
  readonly log: Logger
  /** Opens both listeners. */
  start(): Promise<Addresses>
  /** Drains, finishes requests in flight and closes everything. Idempotent. */
  stop(): Promise<void>
  /** Resolves when every log line is written or dropped; never, while the log's destination takes nothing. */
  flushLog(): Promise<void>
}

interface SharedDeps {
  /** The settings in force: a copy that changes with SETTINGS_FILE. */
  readonly config: Config
  readonly runtime: RuntimeInfo
  readonly clock: Clock
  readonly health: Health
  /** Bounds everything that waits. */
  readonly waiting: ByteBudget
  /** Of everything that decodes long answers. */
  readonly turns: Turns
  /** Emits events to all subscribers. */
  readonly observer: Observer
  readonly subscribe: (listener: Partial<Observer>) => void
}

/** The composition root: creates all components and connects them. */
export async function createApp(loaded: Config, runtime: RuntimeInfo): Promise<App> {
  const deps = createSharedDeps(loaded, runtime)
  const { config } = deps
  const { health, clock } = deps
  const apiKey = openApiKey(config.apiKey, deps)
  const clients = config.clients.keys && createClients(config.clients.keys, deps)
  const secrets = () => [apiKey.secrets(), clients?.secrets() ?? [], ...configuredSecrets(config)].flat()
  const { log, flush, flushCounts } = createLog(deps, secrets)
  const userAgent = `ev-availability-proxy/${runtime.version}`
  const stack = await createCacheStack({ ...deps, apiKey, userAgent, clients })
  const live = createLive({ ...deps, stack })
  const publicServer = await createPublic(deps, { cache: stack.cache, clients, live })
  const adminServer = createAdmin(deps, {
    gauges: { ...stack.gauges, live: live.gauge, access: accessGauge(config, clients) },
    inspector: stationInspector(stack.cache),
    redact: (text) => redact(text, secrets()),
  })
  const stopWatching = watchSettings(deps, (before) => {
    log.level = config.log.level
    live.applySettings()
    stack.applySettings(before)
  })
  const stopDescriptorChecks = watchFileDescriptors(deps)
  const [drainPublic, drainAdmin] = [createDrain(publicServer), createDrain(adminServer)]
  return {
    log,
    flushLog: flush,
    async start() {
      const admin = await listen(adminServer, config.admin)
      const addresses = { admin, public: await listen(publicServer, config.public) }
      becomeReady(deps, stack.checkKey)
      stack.start()
      return addresses
    },
    stop: once(async () => {
      health.markDraining()
      live.streams.drain()
      live.stop()
      await drainPublic(config.drain, clock)
      apiKey.stop()
      stopWatching()
      stopDescriptorChecks()
      clients?.stop()
      await stack.close()
      flushCounts()
      await drainAdmin({ delayMs: 0, timeoutMs: 0 }, clock)
    }),
  }
}

function createSharedDeps(config: Config, runtime: RuntimeInfo): SharedDeps {
  const { cache, upstream, log } = config
  return {
    config: { ...config, cache: { ...cache }, upstream: { ...upstream }, log: { ...log } },
    runtime,
    clock: runtime.clock ?? systemClock,
    health: new Health(),
    waiting: waitingBudget(getHeapStatistics().heap_size_limit),
    turns: new Turns(),
    ...createEventBus(),
  }
}

function createLog(
  { config, runtime, clock, observer, subscribe }: SharedDeps,
  secrets: () => readonly string[],
) {
  const standardOutput = () => createLogDestination(1, (lines) => observer.logLinesDropped(lines))
  const { write, flush = async () => {} } = runtime.logDestination ?? standardOutput()
  const { version } = runtime
  const log = createLogger({ version, level: config.log.level, secrets, destination: { write } })
  const { observers, flush: flushCounts } = createEventLog(log, clock)
  for (const listener of observers) subscribe(listener)
  return { log, flush, flushCounts }
}

function createPublic(
  { config, runtime, clock, health, observer, waiting }: SharedDeps,
  parts: { readonly cache: Cache; readonly clients: Clients | null; readonly live: LiveStack },
): Promise<FastifyInstance> {
  return createPublicServer(
    {
      perSecond: config.clients.perSecond,
      maxInFlight: config.clients.maxInFlight,
      quotaShare: config.upstream.quota === null ? 1 : config.clients.quotaShare,
      trustedProxies: config.clients.trustedProxies ?? [],
      corsOrigins: config.public.corsOrigins,
      accessLog: config.log.access,
      addressDetail: config.log.clientAddress,
      openapi: runtime.openapi,
      docs: config.public.docs,
      basePath: config.public.basePath ?? '',
      isDraining: () => health.phase === 'draining',
      batchDeadlineMs: config.upstream.queueTimeoutMs + config.upstream.timeoutMs,
    },
    { ...parts, clock, observer, waiting },
  )
}

interface AdminDeps {
  readonly gauges: Omit<Gauges, 'waiting'>
  readonly inspector: StationInspector
  readonly redact: (text: string) => string
}

function createAdmin(
  { config, runtime, clock, health, subscribe, waiting }: SharedDeps,
  { gauges: others, inspector, redact }: AdminDeps,
): FastifyInstance {
  const gauges = { ...others, waiting: () => ({ bytes: waiting.used, limitBytes: waiting.limit }) }
  const { version, nodeVersion, instance, residentBytes } = runtime
  const recorder = new MetricsRecorder()
  const metrics = createMetrics(recorder, gauges, runtime)
  const status = new Status(
    {
      version,
      nodeVersion,
      instance: instance ?? null,
      settings: config.effective,
      cache: config.cache,
      upstream: config.upstream,
    },
    { gauges, recorder, health, clock, ...(residentBytes && { residentBytes }) },
  )
  subscribe(recorder.observer)
  for (const listener of status.observers) subscribe(listener)
  const circuit = () => gauges.upstream().circuit
  return createAdminServer({ health, metrics, circuit, status, inspector, redact })
}

function accessGauge({ clients: limits }: Config, clients: Clients | null): Gauges['access'] {
  const isLimited = limits.perSecond > 0 || limits.maxInFlight > 0 || limits.quotaShare < 1
  return () => ({ clients: clients && clients.names(), isLimited })
}

/** Secrets that are not reloaded at run time. */
function configuredSecrets({ redis, outboundProxy }: Config): string[] {
  const authorization = outboundProxy?.authorization?.split(' ')[1]
  return [redis?.password, authorization].filter((secret) => typeof secret === 'string')
}

function once(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  return () => (running ??= action())
}
