import { setMaxListeners } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { Answer } from './answer.ts'
import { send } from './answer.ts'
import type { LoggedCall } from './call-log.ts'
import { CallLog } from './call-log.ts'
import { CONTROL_PATH, control } from './control.ts'
import type { Deviation } from './deviations.ts'
import { endpoint } from './endpoint.ts'
import type { Fault } from './fault-document.ts'
import { Faults } from './faults.ts'
import { createGateway } from './gateway.ts'
import { createOutages } from './outages.ts'
import { executeFault } from './execute-fault.ts'
import type { Stations } from './model.ts'
import type { Random } from './random.ts'
import type { Call } from './request.ts'
import { parseCall } from './request.ts'
import { olderVersion, stationAt } from './stations.ts'

/*
 * A simulator of TomTom's endpoint, as its reference documents it and as far as its behaviour is known. The path of a
 * call:
 *
 *   server -> faults -> gateway (key, calls per second) -> endpoint: request -> stations -> filter -> render
 *
 * It shares no code with the proxy, so that tests can use it as an independent oracle.
 */

export interface SimulatorOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 0: any free port. */
  readonly port?: number
  /** The only valid key; null, the default, requires none. */
  readonly key?: string | null
  /** Wall clock in ms, for occupancy and for calls per second. Default Date.now. */
  readonly now?: () => number
  /** For faults with a probability. Default Math.random. */
  readonly random?: Random
  /** Waits; rejects when the signal aborts. Default: a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Delay before every response, in addition to those of faults. Default 0. */
  readonly latencyMs?: number
  /** Calls per second before a 429. Default 0: no limit. */
  readonly maxQps?: number
  /** Period of recurring outages in ms, see `createOutages`. Default 0: none. */
  readonly outagePeriodMs?: number
  /** Multiplies how often stations change. Default 1: as recorded (occupancy.ts). */
  readonly changeSpeed?: number
  /** In force for every call, in addition to those of faults. Default none. */
  readonly deviations?: readonly Deviation[]
  /** Replaces the generated stations. */
  readonly stations?: Stations
}

export interface Simulator {
  /** Without a trailing slash. */
  readonly url: string
  readonly port: number
  /** Number of calls received, without those that set faults. */
  readonly calls: number
  /** The last thousand calls, the oldest first. */
  readonly requests: readonly LoggedCall[]
  /**
   * Replaces the active faults; `[]` clears them.
   * @throws FaultDocumentError; the present faults then stay active
   */
  setFaults(faults: Fault | readonly Fault[]): void
  /** Closes every socket, also of calls in flight. */
  close(): Promise<void>
}

/**
 * Starts a simulator.
 * @throws the system's error if it cannot listen
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { host = '127.0.0.1', port: requestedPort = 0, random = Math.random, now = Date.now } = options
  const log = new CallLog()
  const faults = new Faults(random)
  const closing = new AbortController()
  setMaxListeners(0, closing.signal) // every delayed call listens; by default more than ten are a warning
  const handle = createRequestHandler(options, { log, faults, now, signal: closing.signal })
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => failRequest(response, error))
  })
  const port = await listen(server, requestedPort, host)

  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    get calls() {
      return log.count
    },
    get requests() {
      return log.recent
    },
    setFaults: (document) => faults.set(document),
    close() {
      closing.abort()
      return closeServer(server)
    },
  }
}

interface HandlerDeps {
  readonly log: CallLog
  readonly faults: Faults
  readonly now: () => number
  /** Aborts when the simulator closes. */
  readonly signal: AbortSignal
}

function createRequestHandler(options: SimulatorOptions, { log, faults, now, signal }: HandlerDeps) {
  const {
    key = null,
    maxQps = 0,
    latencyMs = 0,
    outagePeriodMs = 0,
    sleep = pause,
    deviations = [],
    changeSpeed = 1,
  } = options
  const stations = options.stations ?? ((id) => stationAt(id, now(), changeSpeed))
  const gateway = createGateway({ key, maxQps, now })
  const outage = createOutages(outagePeriodMs, now())
  const isTurnOfOlder = turns()
  const normalResponse = (call: Call): Answer =>
    gateway(call) ??
    endpoint(call, (id) => {
      const isOlder = isTurnOfOlder(id) && call.deviations.has('roll-out')
      return isOlder ? olderVersion(stations(id)) : stations(id)
    })

  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const received = parseCall(request)
    if (received.path === CONTROL_PATH) {
      return send(received, response, await control(received.method, request, faults))
    }
    log.add(received, now())
    const decision = faults.decide()
    const call = { ...received, deviations: new Set([...deviations, ...decision.deviations]) }
    const delayMs = latencyMs + decision.latencyMs
    if (delayMs > 0) await sleep(delayMs, signal)
    const outcome = decision.outcome ?? outage(now())
    if (outcome === null) return send(call, response, normalResponse(call))
    return executeFault(outcome, { call, response, normalResponse, sleep: (ms) => sleep(ms, signal) })
  }
}

/** Whether it is the turn of a station's older version: at every second of its calls. */
function turns(): (id: string) => boolean {
  const isOlderNext = new Map<string, boolean>()
  return (id) => {
    const isOlder = isOlderNext.get(id) ?? false
    isOlderNext.set(id, !isOlder)
    return isOlder
  }
}

/** Reports an error in the options of a test, such as a `stations` that throws. */
function failRequest(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) response.destroy()
  else response.writeHead(500, { 'Content-Type': 'text/plain' }).end(`The simulator failed: ${String(error)}`)
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal })
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
