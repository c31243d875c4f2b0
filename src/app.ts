import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { DestinationStream, Logger } from 'pino'
import { parseQuery } from './availability/query.ts'
import type { Found } from './cache/cache.ts'
import { Cache } from './cache/cache.ts'
import type { Clock } from './clock.ts'
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
import { openApiKey } from './upstream/api-key.ts'
import type { BudgetOptions } from './upstream/budget.ts'
import { Budget } from './upstream/budget.ts'
import { guarded } from './upstream/guarded.ts'
import type { PacingOptions, Usage } from './upstream/pacing.ts'
import { pace } from './upstream/pacing.ts'
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
  const log = createLogger({
    level: config.log.level,
    secrets: apiKey.known,
    ...(surroundings.logDestination && { destination: surroundings.logDestination }),
  })
  const upstream = tomtom(
    { ...config.upstream, userAgent: `ev-availability-proxy/${surroundings.version}` },
    { apiKey: apiKey.current, observer, clock },
  )
  const usage = (): Usage => cache
  const quota =
    config.upstream.quota === null ? null : openQuota(config.upstream.quota, config.cache, usage, clock)
  const calls = guarded(config.upstream, {
    source: upstream.source,
    quota,
    apiKey: apiKey.current,
    clock,
    observer,
    random: Math.random,
  })
  const effectiveTtlMs = quota?.pacing.ttlMs ?? (() => config.cache.ttlMs)
  const cache: Cache = new Cache(
    { ...config.cache, ...config.upstream, flightTimeoutMs: flightTimeoutMs(config) },
    { load: calls.source, observer, clock, random: Math.random, effectiveTtlMs },
  )
  const gauges: Gauges = {
    cache: () => ({ entries: cache.entries, bytes: cache.bytes }),
    upstream: () => ({ inFlight: upstream.inFlight(), queued: calls.queued(), circuit: calls.circuit() }),
    quota: () => quota?.budget ?? null,
    effectiveTtlMs,
  }
  const metrics = createMetrics(gauges, surroundings)
  const { version, nodeVersion, residentBytes } = surroundings
  const status = new Status(
    { version, nodeVersion, cache: config.cache, upstream: config.upstream },
    { gauges, health, clock, ...(residentBytes && { residentBytes }) },
  )
  listeners.push(metrics.observer, status.observer, eventLog(log))

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
    redact: (text) => redact(text, apiKey.known()),
  })

  const stop = once(async () => {
    health.draining()
    await drain(open, config.drain, clock)
    apiKey.stop()
    await upstream.close()
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

function openQuota(limits: BudgetOptions, ttls: PacingOptions, usage: () => Usage, clock: Clock) {
  const budget = new Budget(limits, clock)
  return { budget, pacing: pace(ttls, { budget, usage, clock }) }
}

function flightTimeoutMs({ upstream }: Config): number {
  return upstream.queueTimeoutMs + upstream.timeoutMs + FLIGHT_MARGIN_MS
}
