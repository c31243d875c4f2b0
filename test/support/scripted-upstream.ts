import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { referenceStation } from './stations.ts'

/** A call that arrived at upstream. */
export interface UpstreamCall {
  /** 1 for the first. */
  readonly number: number
  readonly id: string
  readonly url: URL
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
}

/** Answers a call; it may wait for a barrier, or write an invalid response. */
export type Script = (
  call: UpstreamCall,
  response: ServerResponse,
  request: IncomingMessage,
) => void | Promise<void>

/**
 * An upstream on a real socket that runs a script for every call and records the calls. The default script answers with
 * the station of the reference under the requested id.
 */
export class ScriptedUpstream {
  readonly calls: UpstreamCall[] = []
  script: Script = answerStation
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** Listens on loopback, on the given port or one that the system chooses. */
  static async start(script: Script = answerStation, port = 0): Promise<ScriptedUpstream> {
    const server = createServer()
    const upstream = new ScriptedUpstream(server)
    upstream.script = script
    server.on('request', (request, response) => void upstream.#answer(request, response))
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    return upstream
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Calls for one station. */
  callsFor(id: string): number {
    return this.calls.filter((call) => call.id === id).length
  }

  /** Resolves once that number of calls has arrived. */
  async arrived(count: number): Promise<void> {
    while (this.calls.length < count) await new Promise((resolve) => setTimeout(resolve, 1))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://upstream')
    const id = url.searchParams.get('chargingAvailability') ?? ''
    const { headers, rawHeaders } = request
    const call = { number: this.calls.length + 1, id, url, headers, rawHeaders }
    this.calls.push(call)
    await this.script(call, response, request)
  }
}

/** 200 with the station of the reference. */
export function answerStation({ id }: UpstreamCall, response: ServerResponse): void {
  sendJson(response, referenceStation(id))
}

/** 200 with this body as JSON. */
export function sendJson(response: ServerResponse, body: unknown): void {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(body))
}

/** Always this status, with this body. */
export function answerStatus(status: number, body = '', headers: Record<string, string> = {}): Script {
  return (_call, response) => {
    response.writeHead(status, headers)
    response.end(body)
  }
}

/** `passed` stays pending until the barrier is opened. */
export class Barrier {
  readonly passed: Promise<void>
  #open!: () => void

  constructor() {
    this.passed = new Promise((resolve) => {
      this.#open = resolve
    })
  }

  open(): void {
    this.#open()
  }
}
