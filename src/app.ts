import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { DestinationStream, Logger } from 'pino'
import { parseQuery } from './availability/query.ts'
import type { Found } from './cache/cache.ts'
import { Cache } from './cache/cache.ts'
import { LEASE_MS } from './cache/shared.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import { drain } from './http/drain.ts'
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
import { openRedisTier } from './redis/shared-tier.ts'
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

/** The composition root: builds the parts and fits them together. */
export async function createApp(config: Config, surroundings: Surroundings): Promise<App> {
  const clock = systemClock
  const health = new Health()
  const listeners: Partial<Observer>[] = []
  const observer = broadcast(listeners)

  const apiKey = openApiKey(config.apiKey, { clock, observer })
  const redisPassword = config.redis?.password ?? null
  const secrets = () => [...apiKey.known(), ...(redisPassword === null ? [] : [redisPassword])]
  const log = createLogger({
    level: config.log.level,
    secrets,
    ...(surroundings.logDestination && { destination: surroundings.logDestination }),
  })
  listeners.push(eventLog(log))
  const shared = config.redis && (await openRedisTier(config.redis, { leaseMs: LEASE_MS, clock, observer }))
  const upstream = tomtom(
    { ...config.upstream, userAgent: `ev-availability-proxy/${surroundings.version}` },
    { apiKey: apiKey.current, observer, clock },
  )
  const usage = (): Usage => cache
  const { quota: limits, limitShare: share } = config.upstream
  const sharedBudget = limits && shared && new SharedBudget(limits, { ledger: shared.ledger, clock, share })
  const budget = sharedBudget ?? (limits && new Budget(limits, clock, share))
  const quota = budget && { budget, pacing: pace(config.cache, { budget, usage, clock }) }
  listeners.push({ sharedTierChanged: (up) => up && sharedBudget?.start() })
  sharedBudget?.start()
  const calls = guarded(
    { ...config.upstream, share },
    {
      source: upstream.source,
      quota,
      tokens: shared && shared.tokens,
      refusals: shared && shared.refusals,
      apiKey: apiKey.current,
      clock,
      observer,
      random: Math.random,
    },
  )
  const effectiveTtlMs = quota?.pacing.ttlMs ?? (() => config.cache.ttlMs)
  const cache: Cache = new Cache(
    { ...config.cache, ...config.upstream, flightTimeoutMs: flightTimeoutMs(config) },
    {
      load: calls.source,
      observer,
      clock,
      random: Math.random,
      effectiveTtlMs,
      shared: shared && { tier: shared.answers, observer },
    },
  )
  const gauges: Gauges = {
    cache: () => ({ entries: cache.entries, bytes: cache.bytes }),
    upstream: () => ({ inFlight: upstream.inFlight(), queued: calls.queued(), circuit: calls.circuit() }),
    quota: () => quota?.budget ?? null,
    effectiveTtlMs,
    sharedTierUp: () => shared && shared.isUp(),
  }
  const metrics = createMetrics(gauges, surroundings)
  const { version, nodeVersion, residentBytes } = surroundings
  const status = new Status(
    { version, nodeVersion, cache: config.cache, upstream: config.upstream },
    { gauges, health, clock, ...(residentBytes && { residentBytes }) },
  )
  listeners.push(metrics.observer, status.observer)

  const open = await publicServer(
    {
      corsOrigins: config.corsOrigins,
      accessLog: config.log.access,
      openapi: surroundings.openapi,
      isDraining: () => health.phase === 'draining',
    },
    { cache, observer },
  )
  const admin = adminServer({
    health,
    metrics,
    circuit: calls.circuit,
    status,
    stations: lookUp(cache),
    redact: (text) => redact(text, secrets()),
  })

  const stop = once(async () => {
    health.draining()
    await drain(open, config.drain, clock)
    apiKey.stop()
    await upstream.close()
    sharedBudget?.stop()
    shared?.close()
    await drain(admin, { delayMs: 0, timeoutMs: 0 }, clock)
  })

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
    stop,
  }
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
