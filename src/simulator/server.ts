import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { Answer } from './answer.ts'
import { send } from './answer.ts'
import type { LoggedCall } from './call-log.ts'
import { CallLog } from './call-log.ts'
import { CONTROL_PATH, control } from './control.ts'
import { endpoint } from './endpoint.ts'
import type { Fault } from './fault-document.ts'
import { Faults } from './faults.ts'
import { gateway } from './gateway.ts'
import { hiccups } from './hiccup.ts'
import { misbehave } from './misbehave.ts'
import type { Stations } from './model.ts'
import type { Random } from './random.ts'
import type { Call } from './request.ts'
import { callOf } from './request.ts'
import { stationAt } from './stations.ts'

/*
 * TomTom's side of the wire, as its reference documents it and as far as its behaviour is known. The way of a call:
 *
 *   server -> faults -> gateway (key, calls a second) -> endpoint: request -> stations -> filter -> render
 *
 * It shares no code with the rest of this repository, and so can judge it.
 */

export interface SimulatorOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 0: any free port. */
  readonly port?: number
  /** The only key that is let in; null, the default, lets everyone in. */
  readonly key?: string | null
  /** Wall clock in ms, by which occupancy changes and calls a second are counted. Default Date.now. */
  readonly now?: () => number
  /** Decides for faults with a probability. Default Math.random. */
  readonly random?: Random
  /** Waits so many ms, or rejects when the signal aborts. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Before every answer; faults add theirs. Default 0. */
  readonly latencyMs?: number
  /** Calls in any second; one more is a 429. Default 0: no limit. */
  readonly maxQps?: number
  /** In every period of so many ms, failures at its end. Default 0: none. */
  readonly hiccupMs?: number
  /** Knows the stations in place of the generator; null for an unknown id. */
  readonly stations?: Stations
}

export interface Simulator {
  /** Without a trailing slash. */
  readonly url: string
  readonly port: number
  /** Calls that arrived, faults included; those that set faults are not counted. */
  readonly calls: number
  /** The last thousand of them, the oldest first. */
  readonly requests: readonly LoggedCall[]
  /**
   * Replaces the faults in force; `[]` clears them.
   * @throws FaultDocumentError, and then the old ones stay
   */
  setFaults(faults: Fault | readonly Fault[]): void
  /** Ends every socket, calls under way too. */
  close(): Promise<void>
}

/**
 * Starts it.
 * @throws the system's error when it cannot listen there
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { host = '127.0.0.1', port: wanted = 0, random = Math.random, now = Date.now } = options
  const log = new CallLog()
  const faults = new Faults(random)
  const closing = new AbortController()
  const answer = answering(options, { log, faults, now, signal: closing.signal })
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => giveUp(response, error))
  })
  const port = await listen(server, wanted, host)

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
      return end(server)
    },
  }
}

interface Parts {
  readonly log: CallLog
  readonly faults: Faults
  readonly now: () => number
  /** Aborts when the simulator closes. */
  readonly signal: AbortSignal
}

/** How a request is answered, from its first line to its last byte. */
function answering(options: SimulatorOptions, { log, faults, now, signal }: Parts) {
  const { key = null, maxQps = 0, latencyMs = 0, hiccupMs = 0, sleep = pause } = options
  const stations = options.stations ?? ((id) => stationAt(id, now()))
  const refusal = gateway({ key, maxQps, now })
  const hiccup = hiccups(hiccupMs, now())
  const honest = (call: Call): Answer => refusal(call) ?? endpoint(call, stations)

  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const call = callOf(request)
    if (call.path === CONTROL_PATH) return send(call, response, await control(call.method, request, faults))
    log.add(call, now())
    const strike = faults.strike()
    const delayMs = latencyMs + strike.latencyMs
    if (delayMs > 0) await sleep(delayMs, signal)
    const outcome = strike.outcome ?? hiccup(now())
    if (outcome === null) return send(call, response, honest(call))
    return misbehave(outcome, { call, response, honest, sleep: (ms) => sleep(ms, signal) })
  }
}

/** A caller of ours that gave wrong options (a `stations` that throws, say) reads why. */
function giveUp(response: ServerResponse, error: unknown): void {
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

function end(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
