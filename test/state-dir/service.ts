import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { build, Process } from '../support/process.ts'
import { pathFor } from '../support/request.ts'
import { until } from '../support/until.ts'

export { build }

/** An upstream that counts its calls. */
export async function startUpstream(
  t: Test,
): Promise<{ readonly origin: string; readonly calls: () => number }> {
  let calls = 0
  const server = createServer((request, response) => {
    calls++
    const id = new URL(request.url ?? '', 'http://x').searchParams.get('chargingAvailability')
    const availability = { current: { available: 1, occupied: 0, reserved: 0, unknown: 0, outOfService: 0 } }
    const connectors = [{ type: 'Type2', total: 1, availability: { ...availability, perPowerLevel: [] } }]
    response.setHeader('content-type', 'application/json')
    setTimeout(() => response.end(JSON.stringify({ connectors, chargingAvailability: id })), 10)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.closeAllConnections())
  t.teardown(() => server.close())
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls: () => calls }
}

export interface RunningService {
  readonly process: Process
  readonly get: (id: string) => Promise<Response>
  readonly metric: (name: string) => Promise<number>
  /** Ends it with a signal and waits for its end; the ms that takes. */
  readonly end: (signal: NodeJS.Signals) => Promise<number>
}

export type Environment = Readonly<Record<string, string>>

/** The service as a process. */
export function launch(t: Test, built: string, origin: string, environment: Environment): Process {
  const process = new Process(built, {
    TOMTOM_API_KEY: 'test-key-0123456789abcdef',
    TOMTOM_BASE_URL: origin,
    HOST: '127.0.0.1',
    PORT: '0',
    ADMIN_PORT: '0',
    UPSTREAM_MAX_QPS: '0',
    ...environment,
  })
  t.teardown(() => process.child.kill('SIGKILL'))
  return process
}

export async function start(
  t: Test,
  built: string,
  origin: string,
  environment: Environment,
): Promise<RunningService> {
  const process = launch(t, built, origin, environment)
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

export { until }
