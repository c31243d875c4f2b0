import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { DestinationStream, Logger } from 'pino'
import { createCacheStack } from './app-cache.ts'
import { parseQuery } from './availability/query.ts'
import type { Cache, LookupResult } from './cache/cache.ts'
import { createClients } from './clients/clients.ts'
import type { Clients } from './clients/clients.ts'
import type { Config } from './config/load.ts'
import type { Gauges, Observer } from './events.ts'
import { broadcast } from './events.ts'
import { createDrain } from './http/drain.ts'
import { createPublicServer } from './http/server.ts'
import type { Clock } from './lib/clock.ts'
import { systemClock } from './lib/clock.ts'
import { createAdminServer } from './ops/admin-server.ts'
import { Health } from './ops/health.ts'
import { createEventLog } from './ops/log/event-log.ts'
import { createLogger, redact } from './ops/log/logger.ts'
import { createMetrics } from './ops/metrics/metrics.ts'
import { MetricsRecorder } from './ops/metrics/metrics-recorder.ts'
import type { InspectedStation, StationInspector } from './ops/status/status-routes.ts'
import { Status } from './ops/status/status.ts'
import { openApiKey } from './upstream/tomtom/api-key.ts'

/** What the app needs from the process. */
export interface RuntimeInfo {
  readonly version: string
  readonly nodeVersion: string
  /** The text of openapi.yaml. */
  readonly openapi: string
  /** Destination of log lines; standard output if absent. */
  readonly logDestination?: DestinationStream
  /** Resident memory of the process, in bytes. */
  readonly residentBytes?: () => number
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
}

interface SharedDeps {
  readonly config: Config
  readonly runtime: RuntimeInfo
  readonly clock: Clock
  readonly health: Health
  /** Emits events to all subscribers. */
  readonly observer: Observer
  readonly subscribe: (listener: Partial<Observer>) => void
}

/** The composition root: creates all components and connects them. */
export async function createApp(config: Config, runtime: RuntimeInfo): Promise<App> {
  const deps = createSharedDeps(config, runtime)
  const { health, clock } = deps
  const apiKey = openApiKey(config.apiKey, deps)
  const clients = config.clients.keys && createClients(config.clients.keys, deps)
  const secrets = () => [apiKey.secrets(), clients?.secrets() ?? [], config.redis?.password ?? []].flat()
  const log = createLog(deps, secrets)
  const userAgent = `ev-availability-proxy/${runtime.version}`
  const stack = await createCacheStack({ ...deps, apiKey, userAgent })
  const publicServer = await createPublic(deps, stack.cache, clients)
  const adminServer = createAdmin(deps, {
    gauges: { ...stack.gauges, access: accessGauge(config, clients) },
    inspector: stationInspector(stack.cache),
    redact: (text) => redact(text, secrets()),
  })
  const [drainPublic, drainAdmin] = [createDrain(publicServer), createDrain(adminServer)]
  return {
    log,
    async start() {
      const admin = await listen(adminServer, config.admin)
      const addresses = { admin, public: await listen(publicServer, config.public) }
      health.markReady()
      stack.start()
      return addresses
    },
    stop: once(async () => {
      health.markDraining()
      await drainPublic(config.drain, clock)
      apiKey.stop()
      clients?.stop()
      await stack.close()
      await drainAdmin({ delayMs: 0, timeoutMs: 0 }, clock)
    }),
  }
}

function createSharedDeps(config: Config, runtime: RuntimeInfo): SharedDeps {
  const listeners: Partial<Observer>[] = []
  return {
    config,
    runtime,
    clock: systemClock,
    health: new Health(),
    observer: broadcast(listeners),
    subscribe: (listener) => void listeners.push(listener),
  }
}

function createLog({ config, runtime, subscribe }: SharedDeps, secrets: () => readonly string[]): Logger {
  const { logDestination: destination } = runtime
  const log = createLogger({ level: config.log.level, secrets, ...(destination && { destination }) })
  subscribe(createEventLog(log))
  return log
}

function createPublic(
  { config, runtime, clock, health, observer }: SharedDeps,
  cache: Cache,
  clients: Clients | null,
): Promise<FastifyInstance> {
  return createPublicServer(
    {
      perSecond: config.clients.perSecond,
      maxInFlight: config.clients.maxInFlight,
      trustedProxies: config.clients.trustedProxies ?? [],
      corsOrigins: config.public.corsOrigins,
      accessLog: config.log.access,
      openapi: runtime.openapi,
      docs: config.public.docs,
      isDraining: () => health.phase === 'draining',
    },
    { cache, clients, clock, observer },
  )
}

interface AdminDeps {
  readonly gauges: Gauges
  readonly inspector: StationInspector
  readonly redact: (text: string) => string
}

function createAdmin(
  { config, runtime, clock, health, subscribe }: SharedDeps,
  { gauges, inspector, redact }: AdminDeps,
): FastifyInstance {
  const { version, nodeVersion, residentBytes } = runtime
  const recorder = new MetricsRecorder()
  const metrics = createMetrics(recorder, gauges, runtime)
  const status = new Status(
    { version, nodeVersion, cache: config.cache, upstream: config.upstream },
    { gauges, recorder, health, clock, ...(residentBytes && { residentBytes }) },
  )
  subscribe(recorder.observer)
  subscribe(status.observer)
  const circuit = () => gauges.upstream().circuit
  return createAdminServer({ health, metrics, circuit, status, inspector, redact })
}

function accessGauge({ clients: limits }: Config, clients: Clients | null): Gauges['access'] {
  const isLimited = limits.perSecond > 0 || limits.maxInFlight > 0
  return () => ({ clients: clients && clients.names(), isLimited })
}

async function listen(server: FastifyInstance, { host, port }: Config['admin']): Promise<AddressInfo> {
  await server.listen({ host, port })
  return server.server.address() as AddressInfo
}

function once(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  return () => (running ??= action())
}

/** Looks up stations for the status page, by the same rules as for clients. */
function stationInspector(cache: Cache): StationInspector {
  return {
    peek(id) {
      const entry = cache.peek(id)
      return entry === null ? null : inspected(entry)
    },
    async ask(id) {
      const parameters = new URLSearchParams({ chargingAvailability: id })
      return inspected(await cache.get(parseQuery(parameters.toString()).id))
    },
  }
}

function inspected(result: Pick<LookupResult, 'answer' | 'ageMs' | 'ttlMs'>): InspectedStation {
  const { answer, ageMs, ttlMs } = result
  return { json: answer.json, ageMs, ttlMs }
}
