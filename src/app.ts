import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { DestinationStream, Logger } from 'pino'
import type { Clients } from './access/clients.ts'
import { openClients } from './access/clients.ts'
import { parseQuery } from './availability/query.ts'
import type { Found } from './cache/cache.ts'
import { Cache } from './cache/cache.ts'
import { LEASE_MS } from './cache/shared.ts'
import type { Clock } from './clock.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import { drainable } from './http/drain.ts'
import { publicServer } from './http/server.ts'
import type { Gauges, Observer } from './observer.ts'
import { broadcast } from './observer.ts'
import { adminServer } from './ops/admin-server.ts'
import { eventLog } from './ops/event-log.ts'
import { Health } from './ops/health.ts'
import { createLogger, redact } from './ops/logger.ts'
import { createMetrics } from './ops/metrics.ts'
import type { StationAnswer, Stations } from './ops/status-routes.ts'
import { Status } from './ops/status.ts'
import type { RedisTier } from './redis/shared-tier.ts'
import { openRedisTier } from './redis/shared-tier.ts'
import type { ApiKey } from './upstream/api-key.ts'
import { openApiKey } from './upstream/api-key.ts'
import { Budget } from './upstream/budget.ts'
import { guarded } from './upstream/guarded.ts'
import type { Usage } from './upstream/pacing.ts'
import { pace } from './upstream/pacing.ts'
import { SharedBudget } from './upstream/shared-budget.ts'
import { tomtom } from './upstream/tomtom.ts'

/** What the process brings; everything else the app makes itself. */
export interface Surroundings {
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

/** A flight may outlive the deadlines of what it waits for by this: it is the net below them. */
const FLIGHT_MARGIN_MS = 50

/** What all parts share. */
interface Common {
  readonly config: Config
  readonly surroundings: Surroundings
  readonly clock: Clock
  readonly observer: Observer
  /** Whoever is in here hears the observer from then on. */
  readonly listeners: Partial<Observer>[]
}

/** The composition root: builds the parts and fits them together. */
export async function createApp(config: Config, surroundings: Surroundings): Promise<App> {
  const listeners: Partial<Observer>[] = []
  const observer = broadcast(listeners)
  const common: Common = { config, surroundings, clock: systemClock, observer, listeners }
  const health = new Health()

  const apiKey = openApiKey(config.apiKey, common)
  const clients = config.clients && openClients(config.clients, common)
  const secrets = () => [apiKey.known(), clients?.known() ?? [], config.redis?.password ?? []].flat()
  const log = openLog(common, secrets)
  const answers = await openAnswers(common, apiKey, clients)
  const { metrics, status } = openOps(common, answers.gauges, health)

  const open = await publicServer(
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
  const admin = adminServer({
    health,
    metrics,
    circuit: () => answers.gauges.upstream().circuit,
    status,
    stations: lookUp(answers.cache),
    redact: (text) => redact(text, secrets()),
  })

  const [drainOpen, drainAdmin] = [drainable(open), drainable(admin)]
  return {
    log,
    async start() {
      const addresses = {
        admin: await listen(admin, config.admin),
        public: await listen(open, config.public),
      }
      health.opened()
      return addresses
    },
    stop: once(async () => {
      health.draining()
      await drainOpen(config.drain, systemClock)
      apiKey.stop()
      clients?.stop()
      await answers.close()
      await drainAdmin({ delayMs: 0, timeoutMs: 0 }, systemClock)
    }),
  }
}

function openLog({ config, surroundings, listeners }: Common, secrets: () => readonly string[]): Logger {
  const { logDestination: destination } = surroundings
  const log = createLogger({ level: config.log.level, secrets, ...(destination && { destination }) })
  listeners.push(eventLog(log))
  return log
}

/** The cache, and behind it upstream in its sleeves and what replicas share. */
async function openAnswers(common: Common, apiKey: ApiKey, clients: Clients | null) {
  const { config, surroundings, clock, observer } = common
  const shared = config.redis && (await openRedisTier(config.redis, { leaseMs: LEASE_MS, clock, observer }))
  const { source, inFlight, close } = tomtom(
    { ...config.upstream, userAgent: `ev-availability-proxy/${surroundings.version}` },
    { apiKey: apiKey.current, observer, clock },
  )
  const quota = openQuota(common, shared, () => cache)
  const sleeves = guarded(
    { ...config.upstream, share: config.upstream.limitShare },
    {
      source,
      quota,
      tokens: shared && shared.tokens,
      refusals: shared && shared.refusals,
      apiKey: apiKey.current,
      clock,
      observer,
      random: Math.random,
    },
  )
  const isLimited = config.access.perSecond > 0 || config.access.maxInFlight > 0
  const effectiveTtlMs = quota?.pacing.ttlMs ?? (() => config.cache.ttlMs)
  const cache: Cache = new Cache(
    { ...config.cache, ...config.upstream, flightTimeoutMs: flightTimeoutMs(config) },
    {
      load: sleeves.source,
      observer,
      clock,
      random: Math.random,
      effectiveTtlMs,
      shared: shared && { tier: shared.answers, observer },
    },
  )
  const gauges: Gauges = {
    access: () => ({ clients: clients && clients.names(), isLimited }),
    cache: () => ({ entries: cache.entries, bytes: cache.bytes }),
    upstream: () => ({
      inFlight: inFlight(),
      queued: sleeves.queued(),
      circuit: sleeves.circuit(),
      callsPerSecond: config.upstream.perSecond || null,
    }),
    quota: () => quota?.budget ?? null,
    effectiveTtlMs,
    sharedTierUp: () => shared && shared.isUp(),
  }
  return {
    cache,
    gauges,
    async close() {
      await close()
      quota?.close()
      shared?.close()
    },
  }
}

/** Null without a quota. With the shared tier its account is there for all replicas. */
function openQuota({ config, clock, listeners }: Common, shared: RedisTier | null, usage: () => Usage) {
  const { quota: limits, limitShare: share } = config.upstream
  if (limits === null) return null
  if (shared === null) {
    const budget = new Budget(limits, clock, share)
    return { budget, pacing: pace(config.cache, { budget, usage, clock }), close: () => {} }
  }
  const budget = new SharedBudget(limits, { ledger: shared.ledger, clock, share })
  listeners.push({ sharedTierChanged: (up) => up && budget.start() })
  budget.start()
  return { budget, pacing: pace(config.cache, { budget, usage, clock }), close: () => budget.stop() }
}

function openOps({ config, surroundings, clock, listeners }: Common, gauges: Gauges, health: Health) {
  const { version, nodeVersion, residentBytes } = surroundings
  const metrics = createMetrics(gauges, surroundings)
  const status = new Status(
    { version, nodeVersion, cache: config.cache, upstream: config.upstream },
    { gauges, health, clock, ...(residentBytes && { residentBytes }) },
  )
  listeners.push(metrics.observer, status.observer)
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
function lookUp(cache: Cache): Stations {
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

function shown({ answer, ageMs, ttlMs }: Pick<Found, 'answer' | 'ageMs' | 'ttlMs'>): StationAnswer {
  return { json: answer.json, ageMs, ttlMs }
}

function flightTimeoutMs({ upstream }: Config): number {
  return upstream.queueTimeoutMs + upstream.timeoutMs + FLIGHT_MARGIN_MS
}
