import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { DestinationStream, Logger } from 'pino'
import { openClients } from './clients/clients.ts'
import { createCacheStack } from './app-cache.ts'
import { parseQuery } from './availability/query.ts'
import type { Cache, LookupResult } from './cache/cache.ts'
import type { Clock } from './lib/clock.ts'
import { systemClock } from './lib/clock.ts'
import type { Config } from './config/load.ts'
import { createDrain } from './http/drain.ts'
import { createPublicServer } from './http/server.ts'
import type { Gauges, Observer } from './events.ts'
import { broadcast } from './events.ts'
import { createAdminServer } from './ops/admin-server.ts'
import { createEventLog } from './ops/log/event-log.ts'
import { Health } from './ops/health.ts'
import { createLogger, redact } from './ops/log/logger.ts'
import { createMetrics } from './ops/metrics/metrics.ts'
import { MetricsRecorder } from './ops/metrics/metrics-recorder.ts'
import type { InspectedStation, StationInspector } from './ops/status/status-routes.ts'
import { Status } from './ops/status/status.ts'
import { openApiKey } from './upstream/tomtom/api-key.ts'

/** What the process brings; everything else the app makes itself. */
export interface RuntimeInfo {
  readonly version: string
  readonly nodeVersion: string
  /** The text of openapi.yaml. */
  readonly openapi: string
  /** Where log lines go; standard output when absent. */
  readonly logDestination?: DestinationStream
  /** Memory that the process takes, in bytes. */
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
  /** Lets traffic move away, finishes what is in flight and ends everything. Calling it again changes nothing. */
  stop(): Promise<void>
}

/** What all parts share. */
interface SharedDeps {
  readonly config: Config
  readonly runtime: RuntimeInfo
  readonly clock: Clock
  readonly observer: Observer
  /** Whoever is in here hears the observer from then on. */
  readonly listeners: Partial<Observer>[]
}

/** The composition root: builds the parts and fits them together. */
export async function createApp(config: Config, surroundings: RuntimeInfo): Promise<App> {
  const listeners: Partial<Observer>[] = []
  const observer = broadcast(listeners)
  const common: SharedDeps = { config, runtime: surroundings, clock: systemClock, observer, listeners }
  const health = new Health()

  const apiKey = openApiKey(config.apiKey, common)
  const clients = config.clients && openClients(config.clients, common)
  const secrets = () => [apiKey.secrets(), clients?.secrets() ?? [], config.redis?.password ?? []].flat()
  const log = openLog(common, secrets)
  const userAgent = `ev-availability-proxy/${surroundings.version}`
  const answers = await createCacheStack({ ...common, apiKey, userAgent })
  const isLimited = config.access.perSecond > 0 || config.access.maxInFlight > 0
  const access = () => ({ clients: clients && clients.names(), isLimited })
  const { metrics, status } = openOps(common, { ...answers.gauges, access }, health)

  const open = await createPublicServer(
    {
      ...config.access,
      corsOrigins: config.corsOrigins,
      accessLog: config.log.access,
      openapi: surroundings.openapi,
      docs: config.docs,
      isDraining: () => health.phase === 'draining',
    },
    { cache: answers.cache, clients, clock: systemClock, observer },
  )
  const admin = createAdminServer({
    health,
    metrics,
    circuit: () => answers.gauges.upstream().circuit,
    status,
    inspector: lookUp(answers.cache),
    redact: (text) => redact(text, secrets()),
  })

  const [drainOpen, drainAdmin] = [createDrain(open), createDrain(admin)]
  return {
    log,
    async start() {
      const addresses = {
        admin: await listen(admin, config.admin),
        public: await listen(open, config.public),
      }
      health.markReady()
      return addresses
    },
    stop: once(async () => {
      health.markDraining()
      await drainOpen(config.drain, systemClock)
      apiKey.stop()
      clients?.stop()
      await answers.close()
      await drainAdmin({ delayMs: 0, timeoutMs: 0 }, systemClock)
    }),
  }
}

function openLog(
  { config, runtime: surroundings, listeners }: SharedDeps,
  secrets: () => readonly string[],
): Logger {
  const { logDestination: destination } = surroundings
  const log = createLogger({ level: config.log.level, secrets, ...(destination && { destination }) })
  listeners.push(createEventLog(log))
  return log
}

function openOps(
  { config, runtime: surroundings, clock, listeners }: SharedDeps,
  gauges: Gauges,
  health: Health,
) {
  const { version, nodeVersion, residentBytes } = surroundings
  const recorder = new MetricsRecorder()
  const metrics = createMetrics(recorder, gauges, surroundings)
  const status = new Status(
    { version, nodeVersion, cache: config.cache, upstream: config.upstream },
    { gauges, recorder, health, clock, ...(residentBytes && { residentBytes }) },
  )
  listeners.push(recorder.observer, status.observer)
  return { metrics, status }
}

async function listen(server: FastifyInstance, where: { host: string; port: number }): Promise<AddressInfo> {
  await server.listen({ ...where }) // Fastify writes into what it is given
  return server.server.address() as AddressInfo
}

function once(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  return () => (running ??= action())
}

/** The cache, as the status page's look-up box asks it: by the rules that hold for clients. */
function lookUp(cache: Cache): StationInspector {
  return {
    peek(id) {
      const held = cache.peek(id)
      return held === null ? null : shown(held)
    },
    async ask(id) {
      const parameters = new URLSearchParams({ chargingAvailability: id })
      return shown(await cache.get(parseQuery(parameters.toString()).id))
    },
  }
}

function shown({ answer, ageMs, ttlMs }: Pick<LookupResult, 'answer' | 'ageMs' | 'ttlMs'>): InspectedStation {
  return { json: answer.json, ageMs, ttlMs }
}
