/**
 * The events that components emit. A component gets an `Observer` and calls its methods; it does not know the listeners,
 * which are metrics, log and status page in ops/. Every label is one of a closed set: ids, paths and error texts never
 * become labels.
 */
export const FORMATS = ['json', 'xml', 'none'] as const
export type FormatLabel = (typeof FORMATS)[number]

/** Every status that the public listener sends. */
export const STATUSES = [200, 204, 304, 400, 403, 404, 405, 408, 429, 431, 500, 502, 503, 504] as const

/** How a cache lookup ended. Each lookup has exactly one result. */
export const CACHE_RESULTS = ['hit', 'stale', 'stale_error', 'coalesced', 'miss', 'error'] as const
export type CacheResult = (typeof CACHE_RESULTS)[number]

/** The result label of a request: `none` without a cache lookup. */
export type RequestResult = CacheResult | 'none'

/** How an attempt to call upstream ended. */
export const UPSTREAM_OUTCOMES = [
  'ok',
  'empty',
  'bad_request',
  'not_found',
  'throttled',
  'refused',
  'server_error',
  'invalid',
  'timeout',
  'network',
] as const
export type UpstreamOutcome = (typeof UPSTREAM_OUTCOMES)[number]

/** How a lookup in the shared cache ended. `error`: the command failed, or the value cannot be decoded. */
export const SHARED_RESULTS = ['hit', 'miss', 'error'] as const
export type SharedResult = (typeof SHARED_RESULTS)[number]

/** `closed`: calls are sent; `open`: none is sent; `half_open`: a single probe is in flight. */
export const CIRCUIT_STATES = ['closed', 'open', 'half_open'] as const
export type CircuitState = (typeof CIRCUIT_STATES)[number]

/** The limit per client that was exceeded: requests per second, or concurrent requests that wait for upstream. */
export const CLIENT_LIMITS = ['rate', 'in_flight'] as const
export type ClientLimit = (typeof CLIENT_LIMITS)[number]

/** Upstream rejects the API key (401, 403) or throttles it (429). */
export interface UpstreamRejection {
  readonly status: number | undefined
  /** The most likely cause and what to do, as a sentence for the operator. */
  readonly diagnosis: string
  /** Length of the cool-down, in ms. */
  readonly waitMs: number
}

/** A request that ended in an error response: for the log and the status page, never for a metric. */
export interface RequestFailure {
  readonly trackingId: string
  /** The trace of the request (W3C Trace Context), if it had a valid `traceparent`. */
  readonly traceId?: string
  /** The client's name, where clients have keys and this one was valid. */
  readonly client?: string
  /** The requested station id, if it passed validation. */
  readonly station?: string
  readonly code: string
  readonly status: number
  /** The internal reason; the client does not get it. */
  readonly reason: string | undefined
  readonly cause: unknown
}

/** A request for the access log. Without the query, which may contain a key. */
export interface Access {
  readonly trackingId: string
  readonly traceId?: string
  readonly client?: string
  readonly method: string
  /** The path without the query. */
  readonly path: string
  readonly status: number
  readonly result: RequestResult
  readonly ms: number
}

type Event<Details extends unknown[]> = (...details: Details) => void
const event = () => {}

/** Every event. The names in `broadcast` and the type `Observer` both follow from this object. */
const EVENTS = {
  /** A response was sent on the public listener. */
  requestAnswered: event as Event<
    [format: FormatLabel, status: number, result: RequestResult, seconds: number]
  >,
  /** A request ended in an error response. */
  requestFailed: event as Event<[failure: RequestFailure]>,
  /** A response was sent; emitted only while the access log is on. */
  accessLogged: event as Event<[access: Access]>,
  /** A client was identified; emitted only where clients have keys. Null without a known key. */
  clientIdentified: event as Event<[name: string | null]>,
  /** A client exceeded one of its limits. */
  clientLimited: event as Event<[limit: ClientLimit]>,
  /** The file of client keys was reloaded with a change. The names are those of all clients. */
  clientsChanged: event as Event<[names: readonly string[]]>,
  /** The file of client keys cannot be used; the current keys stay. The reason repeats no text of the file. */
  clientsReloadFailed: event as Event<[reason: string]>,
  /** A cache lookup ended; `ageSeconds` of the answer that was served, null without one. */
  lookedUp: event as Event<[result: CacheResult, ageSeconds: number | null]>,
  /** An entry was evicted because the cache was full. */
  evicted: event as Event<[]>,
  /** A lookup in the shared cache ended. */
  sharedCacheLookedUp: event as Event<[result: SharedResult]>,
  /** The connection to Redis or the use of the state directory began or ended. The reason contains no secret. */
  sharedCacheChanged: event as Event<[up: boolean, reason: string]>,
  /** The store file could not be read and was moved to `keptAs`; an empty one takes its place. */
  stateFileReplaced: event as Event<[path: string, keptAs: string]>,
  /** An attempt to call upstream ended. */
  upstreamAnswered: event as Event<[outcome: UpstreamOutcome, seconds: number]>,
  /** The circuit breaker changed its state. */
  circuitChanged: event as Event<[state: CircuitState]>,
  /** Upstream rejected a call (429, 401, 403) after accepted ones, or the likely cause changed. */
  upstreamRejected: event as Event<[rejection: UpstreamRejection]>,
  /** Upstream accepted a call after a rejection. */
  upstreamRecovered: event as Event<[]>,
  /** Usage of the quota reached 50, 80, 95 or 100 percent; once for each in a period. */
  quotaSpent: event as Event<[percent: number, remaining: number, resetAt: Date]>,
  /** The API key was reloaded from its file with a change. */
  keyRotated: event as Event<[]>,
  /** The file of the API key cannot be used; the current key stays. */
  keyReloadFailed: event as Event<[reason: string]>,
}

export type Observer = typeof EVENTS

/** Values that are read at the moment of a scrape instead of counted from events. */
export interface Gauges {
  /** `clients`: the names of all clients, null if no key is required. `isLimited`: clients have limits. */
  access(): { readonly clients: readonly string[] | null; readonly isLimited: boolean }
  cache(): { readonly entries: number; readonly bytes: number }
  upstream(): {
    readonly inFlight: number
    readonly queued: number
    readonly circuit: CircuitState
    /** Null without a rate limit. */
    readonly callsPerSecond: number | null
  }
  /** Null without a quota. */
  quota(): { readonly limit: number; readonly remaining: number; readonly resetAtMs: number } | null
  /** The current TTL, in ms. */
  effectiveTtlMs(): number
  /** Whether Redis is connected or the state directory works; null if neither is configured. */
  sharedCacheUp(): boolean | null
}

/**
 * An observer that passes each event on to every listener with a method for it, in order. The list is read at each
 * event, so listeners may be added later.
 */
export function broadcast(listeners: readonly Partial<Observer>[]): Observer {
  type Listener = Record<string, ((...details: unknown[]) => void) | undefined>
  const emit =
    (name: string) =>
    (...details: unknown[]) => {
      for (const listener of listeners as readonly Listener[]) listener[name]?.apply(listener, details)
    }
  return Object.fromEntries(Object.keys(EVENTS).map((name) => [name, emit(name)])) as Observer
}
