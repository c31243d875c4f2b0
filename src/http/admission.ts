import { isIP, isIPv6 } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { LRUCache } from 'lru-cache'
import { ServiceError } from '../errors.ts'
import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import { copyString } from '../lib/copy-string.ts'
import { clientAddresses } from './forwarded-for.ts'
import type { RawQuery } from './request-context.ts'

export interface AdmissionOptions {
  /** Requests of one client within a second, which begins with the first of them; 0 is no limit. */
  readonly perSecond: number
  /** Requests of one client that may wait for upstream at once; 0 is no limit. */
  readonly maxInFlight: number
  /** Share of the quota that one client may spend; 1 is no limit. */
  readonly quotaShare?: number
}

/** The clients that have keys. */
export interface ClientNames {
  readonly nameOf: (key: string) => string | null
}

export interface AdmissionDeps {
  /** Null: no key is required, and clients are distinguished by address. */
  readonly clients: ClientNames | null
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<Observer, 'clientIdentified' | 'clientLimited'>
}

/**
 * Sets the request's `rateLimitKey`, and its `client` if clients have keys.
 * @throws ServiceError Forbidden without a valid key, TooManyRequests over the rate limit
 */
export interface Admit {
  (request: FastifyRequest<RawQuery>): void
  /** Counts an admitted request as so many more requests. */
  readonly countMore: (request: FastifyRequest, more: number) => void
}

/**
 * Client keys and the rate limit per client. The key is checked first, so that a client without one cannot find out
 * which parameters are valid. Null without keys and limits.
 */
export async function createAdmission(
  { perSecond, maxInFlight, quotaShare = 1 }: AdmissionOptions,
  deps: AdmissionDeps,
): Promise<Admit | null> {
  const { clients, observer } = deps
  if (clients === null && perSecond === 0 && maxInFlight === 0 && quotaShare === 1) return null
  const identify = clients === null ? await createAddressKey() : createKeyCheck(clients, observer)
  const limiter = perSecond === 0 ? null : new FixedWindowLimiter(perSecond, deps.clock)

  const admit = (request: FastifyRequest<RawQuery>) => {
    const key = (request.rateLimitKey = identify(request))
    const retryAfterMs = limiter?.count(key) ?? null
    if (retryAfterMs === null) return
    observer.clientLimited('rate', request.client)
    throw new ServiceError('TooManyRequests', { reason: 'the client exceeded its rate limit', retryAfterMs })
  }
  const countMore = ({ rateLimitKey }: FastifyRequest, more: number) => limiter?.add(rateLimitKey, more)
  return Object.assign(admit, { countMore })
}

/** Clients whose requests are counted at the same time; the least recently seen is dropped. */
const MAX_WINDOWS = 10_000
const WINDOW_MS = 1_000

interface Window {
  readonly endsAt: number
  requests: number
}

/**
 * A fixed window per client, which begins with the client's first request. On the monotonic clock: a wall clock that is
 * set back by an hour would block a limited client for an hour.
 */
export class FixedWindowLimiter {
  readonly #windows = new LRUCache<string, Window>({ max: MAX_WINDOWS })
  readonly #limit: number
  readonly #clock: Pick<Clock, 'now'>

  constructor(limit: number, clock: Pick<Clock, 'now'>) {
    this.#limit = limit
    this.#clock = clock
  }

  /** Counts a request. Null if it is within the limit, else the time until the window ends, in ms. */
  count(client: string): number | null {
    const now = this.#clock.now()
    const window = this.#windowOf(client, now)
    window.requests++
    return window.requests > this.#limit ? window.endsAt - now : null
  }

  /** Counts so many requests, whatever the limit. */
  add(client: string, requests: number): void {
    this.#windowOf(client, this.#clock.now()).requests += requests
  }

  #windowOf(client: string, now: number): Window {
    const present = this.#windows.get(client)
    if (present !== undefined && present.endsAt > now) return present
    const window = { endsAt: now + WINDOW_MS, requests: 0 }
    this.#windows.set(client, window)
    return window
  }
}

function createKeyCheck(clients: ClientNames, observer: Pick<Observer, 'clientIdentified'>): KeyOf {
  return (request) => {
    try {
      return (request.client = clientOf(request.query.raw, clients))
    } finally {
      observer.clientIdentified(request.client)
    }
  }
}

/** What a client's requests are counted by. */
export type KeyOf = (request: FastifyRequest<RawQuery>) => string

/**
 * The client that a raw query comes from, by its `key`, the parameter that every SDK sends. Clients get the same error
 * response for every reason, and no part of the key is repeated or logged.
 * @throws ServiceError Forbidden
 */
function clientOf(raw: string, clients: ClientNames): string {
  const [key, ...more] = new URLSearchParams(`&${raw}`).getAll('key')
  if (key === undefined) throw forbidden('no key was given')
  if (more.length > 0) throw forbidden('more than one key was given')
  const name = clients.nameOf(key)
  if (name === null) throw forbidden('the key is not known')
  return name
}

function forbidden(reason: string): ServiceError {
  return new ServiceError('Forbidden', { reason })
}

/** The client's IPv4 address or its IPv6 network of 64 bits: one client may use every address of the latter. */
export async function createAddressKey(): Promise<KeyOf> {
  const { Address6 } = await import('ip-address')
  const networkOf = (address: string) => {
    const parsed = new Address6(address)
    if (parsed.isMapped4()) return parsed.to4().correctForm()
    return new Address6(`${address}/64`).startAddress().correctForm()
  }
  // Parsing takes half of a hit's time, and clients send more than one request.
  const networks = new LRUCache<string, string>({ max: MAX_WINDOWS })

  return (request) => {
    const address = addressOf(request)
    if (!isIPv6(address)) return copyString(address) // a slice of a header would keep all of it
    let network = networks.get(address)
    if (network === undefined) networks.set(copyString(address), (network = networkOf(address)))
    return network
  }
}

/** The client's address; the connection's own if a trusted proxy forwarded an invalid one. */
function addressOf(request: FastifyRequest): string {
  const { headers, socket } = request.raw
  const forwarded = headers['x-forwarded-for']
  if (typeof forwarded === 'string') headers['x-forwarded-for'] = clientAddresses(forwarded)
  const { ip } = request // read after the ports are removed
  return isIP(ip) === 0 ? (socket.remoteAddress ?? '') : ip
}
