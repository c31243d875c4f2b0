import { gunzipSync } from 'node:zlib'
import type { Dispatcher } from 'undici'

/** One request to upstream. */
export interface Request {
  /** What it is for; a part of its record's name. */
  readonly label: string
  readonly method?: 'GET' | 'POST' | 'HEAD'
  /** The extension of the path; json if absent. */
  readonly ext?: string
  /** The query without the key, encoded. */
  readonly query: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface Reply {
  /** Null without a response. */
  readonly status: number | null
  /** Names in lower case; of a repeated header all values, separated by commas. */
  readonly headers: Readonly<Record<string, string>>
  /** The decompressed body; empty if it cannot be read. */
  readonly text: string
  /** Why there is no response or no body, else null. */
  readonly problem: string | null
}

/** A call and its response, for the record. */
export interface Exchange {
  readonly number: number
  readonly label: string
  readonly method: string
  readonly path: string
  readonly requestHeaders: Readonly<Record<string, string>>
  readonly reply: Reply
}

export interface ClientOptions {
  /** Base URL of upstream. */
  readonly baseUrl: string
  /** A fixed Referer, for a key that is restricted to a domain. */
  readonly referer?: string | null
  readonly key: string
  readonly timeoutMs: number
  readonly maxCalls: number
  readonly qps: number
}

export interface ClientDeps {
  readonly dispatcher: Dispatcher
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly sleep: (ms: number) => Promise<unknown>
  readonly record: (exchange: Exchange) => void
}

/** Why the run ended before all was tried. */
export interface Stopped {
  readonly reason: string
  readonly status: number | null
}

/** No further call may be made. */
export class RunEnded extends Error {}

export const MAX_BODY_BYTES = 1024 * 1024
/** Calls in a row without a response after which no other is made. */
const MAX_SILENT_CALLS = 3
const REJECTIONS: Readonly<Record<number, string>> = {
  401: 'upstream rejects the key',
  403: 'upstream rejects the key, or its quota is exhausted',
  429: 'upstream throttles the key',
}

/** Sends one call after the other, within the budget and the rate, up to the first rejection. */
export class UpstreamClient {
  readonly #options: ClientOptions
  readonly #deps: ClientDeps
  readonly #prefix: string
  readonly #origin: string
  #calls = 0
  #silent = 0
  #nextAt = Number.NEGATIVE_INFINITY
  #stopped: Stopped | null = null

  constructor(options: ClientOptions, deps: ClientDeps) {
    const { origin, pathname } = new URL(options.baseUrl)
    this.#options = options
    this.#deps = deps
    this.#origin = origin
    this.#prefix = pathname.replace(/\/$/, '')
  }

  /** Calls made so far. */
  get calls(): number {
    return this.#calls
  }

  get stopped(): Stopped | null {
    return this.#stopped
  }

  /** @throws RunEnded if the budget is spent, or upstream has rejected a call */
  async ask(request: Request): Promise<Reply> {
    if (this.#stopped !== null || this.#calls >= this.#options.maxCalls) throw new RunEnded()
    const waitMs = this.#nextAt - this.#deps.now()
    if (waitMs > 0) await this.#deps.sleep(Math.ceil(waitMs))
    this.#calls++
    const reply = await this.#exchange(request)
    // From the end of the call: its start says nothing of its arrival, and the rate is never exceeded at the other side.
    this.#nextAt = this.#deps.now() + 1_000 / this.#options.qps
    this.#judge(reply)
    return reply
  }

  #judge({ status, problem }: Reply): void {
    this.#silent = status === null ? this.#silent + 1 : 0
    const rejection = status === null ? undefined : REJECTIONS[status]
    if (rejection !== undefined) this.#stopped = { reason: rejection, status }
    else if (this.#silent >= MAX_SILENT_CALLS)
      this.#stopped = { reason: problem ?? 'no response', status: null }
    if (this.#stopped !== null) throw new RunEnded()
  }

  async #exchange({ label, method = 'GET', ext = 'json', query, headers = {} }: Request): Promise<Reply> {
    const key = encodeURIComponent(this.#options.key)
    const path = `${this.#prefix}/search/2/chargingAvailability.${ext}?key=${key}${query === '' ? '' : `&${query}`}`
    const requestHeaders = {
      'accept-encoding': 'gzip',
      'user-agent': 'ev-availability-proxy verify',
      ...(this.#options.referer && { referer: this.#options.referer }),
      ...headers,
    }
    const reply = await this.#send(method, path, requestHeaders)
    this.#deps.record({ number: this.#calls, label, method, path, requestHeaders, reply })
    return reply
  }

  async #send(
    method: Dispatcher.HttpMethod,
    path: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<Reply> {
    const signal = AbortSignal.timeout(this.#options.timeoutMs)
    try {
      const request = { origin: this.#origin, path, method, headers: { ...headers }, signal }
      const response = await this.#deps.dispatcher.request(request)
      const bytes = Buffer.from(await response.body.arrayBuffer())
      const received = flatten(response.headers)
      const body = decode(bytes, received['content-encoding'])
      return { status: response.statusCode, headers: received, ...body }
    } catch (error) {
      return { status: null, headers: {}, text: '', problem: describe(error) }
    }
  }
}

function flatten(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  const entries = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value ?? '')])
  return Object.fromEntries(entries) as Record<string, string>
}

function decode(bytes: Buffer, coding = 'identity'): Pick<Reply, 'text' | 'problem'> {
  try {
    const plain =
      coding === 'gzip' && bytes.length > 0 ? gunzipSync(bytes, { maxOutputLength: MAX_BODY_BYTES }) : bytes
    return { text: plain.toString('utf8'), problem: null }
  } catch {
    return { text: '', problem: 'the body does not decompress' }
  }
}

function describe(error: unknown): string {
  const { code, name } = error as NodeJS.ErrnoException
  return name === 'TimeoutError' ? 'no response in time' : `no response (${code ?? name})`
}
