import { readFileSync } from 'node:fs'
import type { Addresses, App } from '../../src/app.ts'
import { createApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { systemClock } from '../../src/lib/clock.ts'

/** The service in this process, on ports chosen by the system. */
export interface Proxy {
  readonly app: App
  readonly addresses: Addresses
  /** Base URLs without a trailing slash. */
  readonly url: string
  readonly adminUrl: string
  /** All log lines, parsed. */
  readonly logs: Record<string, unknown>[]
  readonly rawLogs: string[]
  /** GET of the proxied route. */
  get(query: string, init?: RequestInit & { ext?: string }): Promise<Response>
  /** The value of a sample in /metrics; 0 if there is none. */
  metric(sample: string): Promise<number>
  stop(): Promise<void>
}

export const TEST_KEY = 'test-key-0123456789abcdef'

/** Starts the service in front of an upstream; `environment` adds to or replaces settings. */
export async function startProxy(
  origin: string,
  environment: Record<string, string | undefined> = {},
  clock: Clock = systemClock,
): Promise<Proxy> {
  const config = loadConfig(
    {
      TOMTOM_API_KEY: TEST_KEY,
      TOMTOM_BASE_URL: origin,
      HOST: '127.0.0.1',
      PORT: '0',
      ADMIN_PORT: '0',
      LOG_LEVEL: 'debug',
      UPSTREAM_MAX_QPS: '0',
      ...environment,
    },
    (path) => readFileSync(path, 'utf8'),
  )
  const rawLogs: string[] = []
  const app = await createApp(config, {
    version: '0.0.0-test',
    nodeVersion: process.version,
    clock,
    openapi: readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8'),
    logDestination: { write: (line) => void rawLogs.push(line) },
  })
  const addresses = await app.start()
  const url = `http://127.0.0.1:${addresses.public.port}`
  const adminUrl = `http://127.0.0.1:${addresses.admin.port}`
  return {
    app,
    addresses,
    url,
    adminUrl,
    rawLogs,
    get logs() {
      return rawLogs.map((line) => JSON.parse(line) as Record<string, unknown>)
    },
    get: (query, { ext = 'json', ...init } = {}) =>
      fetch(`${url}/search/2/chargingAvailability.${ext}?${query}`, init),
    async metric(sample) {
      const text = await (await fetch(`${adminUrl}/metrics`)).text()
      const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `))
      return line === undefined ? 0 : Number(line.slice(sample.length + 1))
    },
    stop: () => app.stop(),
  }
}
