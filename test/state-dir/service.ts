import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { build, Process } from '../support/process.ts'
import { pathFor } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

export { build }

export interface CountingUpstream {
  readonly origin: string
  readonly calls: () => number
  /** The next calls are not answered. */
  hold: boolean
}

/** An upstream that counts its calls, and does not know stations whose id begins with `none`. */
export async function startUpstream(t: Test): Promise<CountingUpstream> {
  let calls = 0
  const server = createServer((request, response) => {
    calls++
    if (upstream.hold) return
    const id = new URL(request.url ?? '', 'http://x').searchParams.get('chargingAvailability')
    const availability = { current: { available: 1, occupied: 0, reserved: 0, unknown: 0, outOfService: 0 } }
    const connectors = [{ type: 'Type2', total: 1, availability: { ...availability, perPowerLevel: [] } }]
    if (id?.startsWith('none') === true) response.statusCode = 404
    response.setHeader('content-type', 'application/json')
    setTimeout(() => response.end(JSON.stringify({ connectors, chargingAvailability: id })), 10)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.closeAllConnections())
  t.teardown(() => server.close())
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const upstream: CountingUpstream = { origin, calls: () => calls, hold: false }
  return upstream
}

export interface RunningService {
  readonly process: Process
  readonly get: (id: string) => Promise<Response>
  readonly metric: (name: string) => Promise<number>
  /** Ends it with a signal and waits for its end; the ms that takes. */
  readonly end: (signal: NodeJS.Signals) => Promise<number>
}

export interface Launched {
  /** The folder of the build. */
  readonly built: string
  /** Of the upstream. */
  readonly origin: string
  /** A program that starts the service, with its arguments. */
  readonly prefix?: readonly string[]
}

export type Environment = Readonly<Record<string, string>>

/** The service as a process. */
export function launch(t: Test, { built, origin, prefix = [] }: Launched, environment: Environment): Process {
  const settings = {
    TOMTOM_API_KEY: 'test-key-0123456789abcdef',
    TOMTOM_BASE_URL: origin,
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
    UPSTREAM_MAX_QPS: '0',
  }
  const process = new Process(built, { ...settings, ...environment }, prefix)
  t.teardown(async () => {
    process.child.kill('SIGKILL')
    await process.exited
  })
  return process
}

export async function start(t: Test, launched: Launched, environment: Environment): Promise<RunningService> {
  const process = launch(t, launched, environment)
  const { url, adminUrl } = await process.urls()
  return {
    process,
    get: (id) => fetch(url + pathFor(`chargingAvailability=${id}`)),
    async metric(name) {
      const text = await (await fetch(`${adminUrl}/metrics`)).text()
      return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1])
    },
    async end(signal) {
      const since = performance.now()
      process.child.kill(signal)
      await process.exited
      return performance.now() - since
    },
  }
}

/** Whether the process logged this message. */
export function logged(process: Process, message: string): boolean {
  return process.lines.some(({ msg }) => msg === message)
}

/** One state directory, an upstream, and services that use both. */
export async function setup(
  t: Test,
  built: string,
  environment: Environment = {},
  parent = temporaryFolder(),
) {
  const dir = join(parent, 'state')
  const upstream = await startUpstream(t)
  const { origin, calls } = upstream
  const settings = { STATE_DIR: dir, CACHE_TTL: '1h', ...environment }
  return {
    dir,
    calls,
    upstream,
    start: (changed: Environment = {}, prefix: readonly string[] = []) =>
      start(t, { built, origin, prefix }, { ...settings, ...changed }),
    /** The exit code and what was written to stderr. */
    failedStart: async (changed: Environment) => {
      const process = launch(t, { built, origin }, { ...settings, ...changed })
      return { code: await process.exited, stderr: process.stderr }
    },
  }
}

/** Whether all services show that the store works, or that it does not. */
export function allShow(services: readonly RunningService[], up: 0 | 1): () => Promise<boolean> {
  return async () => {
    const shown = await Promise.all(services.map(({ metric }) => metric('evproxy_shared_cache_up')))
    return shown.every((value) => value === up)
  }
}

export { until }
