/**
 * What the rooms say happened. Nobody who says it knows who listens: ops/ counts and logs.
 * Every label is one of a closed set; ids, paths and error texts never become labels.
 */
export const FORMATS = ['json', 'xml', 'none'] as const
export type FormatLabel = (typeof FORMATS)[number]

/** Every status that the public listener answers with. */
export const STATUSES = [200, 204, 304, 400, 403, 404, 405, 408, 429, 431, 500, 502, 503, 504] as const

/** How a lookup in the cache ended. Each lookup is exactly one of these. */
export const CACHE_RESULTS = ['hit', 'stale', 'stale_error', 'coalesced', 'miss', 'error'] as const
export type CacheResult = (typeof CACHE_RESULTS)[number]

/** What a request was for the latency histogram: `none` never got as far as a lookup. */
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

/** How a question to the shared tier ended: error is a failed command, or a value that is no answer. */
export const SHARED_RESULTS = ['hit', 'miss', 'error'] as const
export type SharedResult = (typeof SHARED_RESULTS)[number]

/** closed: calls go out; open: none do; half_open: one does, to see whether upstream is back. */
export const CIRCUIT_STATES = ['closed', 'open', 'half_open'] as const
export type CircuitState = (typeof CIRCUIT_STATES)[number]

/** The limit of its own that a client has reached: requests a second, or requests that wait for upstream. */
export const CLIENT_LIMITS = ['rate', 'in_flight'] as const
export type ClientLimit = (typeof CLIENT_LIMITS)[number]

/** Upstream refuses our calls, and what is most likely behind it. */
export interface UpstreamRejection {
  readonly status: number | undefined
  /** A sentence for the operator. */
  readonly diagnosis: string
  /** How long no call is made. */
  readonly waitMs: number
}

/** A request that ended in an error: for the log and the status page, never for a metric. */
export interface RequestFailure {
  readonly trackingId: string
  /** The trace that the request belongs to (W3C Trace Context), if it came with one. */
  readonly traceId?: string
  /** The client's name, where clients have keys and this one was right. */
  readonly client?: string
  /** The id that was asked for, once it has passed validation. */
  readonly station?: string
  readonly code: string
  readonly status: number
  /** What happened inside. */
  readonly reason: string | undefined
  readonly cause: unknown
}

/** One request, for the access log: what was asked without the query itself, for that may hold a key. */
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

export interface Observer {
  /** A request on the public listener was answered. */
  requestAnswered(format: FormatLabel, status: number, result: RequestResult, seconds: number): void
  /** A request ended in an error. */
  requestFailed(failure: RequestFailure): void
  /** A request was answered, told only while the access log is on. */
  accessLogged(access: Access): void
  /** A client asked, told only where clients have keys: its name, or null without a key that is known. */
  clientIdentified(name: string | null): void
  /** A client was refused for its own limit. */
  clientLimited(limit: ClientLimit): void
  /** The clients were read again from their file and have changed. */
  clientsChanged(names: readonly string[]): void
  /** The clients' file cannot be used; the keys in force stay. The reason repeats nothing of it. */
  clientsReloadFailed(reason: string): void
  /** A lookup ended; `ageSeconds` of the answer served, null without one. */
  lookedUp(result: CacheResult, ageSeconds: number | null): void
  /** An entry left the cache for want of room. */
  evicted(): void
  /** The shared tier was asked for a station's answer. */
  sharedCacheLookedUp(result: SharedResult): void
  /** The shared tier can be reached, or no longer; the reason names no secret. */
  sharedCacheChanged(up: boolean, reason: string): void
  /** An attempt to call upstream ended. */
  upstreamAnswered(outcome: UpstreamOutcome, seconds: number): void
  /** The circuit breaker changed its state. */
  circuitChanged(state: CircuitState): void
  /** Upstream began to refuse our calls (429, 401, 403), or the likely cause changed. */
  upstreamRejected(refusal: UpstreamRejection): void
  /** Upstream answers again after it refused. */
  upstreamRecovered(): void
  /** So much of the period's quota is spent now; told once for each of 50, 80, 95 and 100 percent. */
  quotaSpent(percent: number, remaining: number, resetAt: Date): void
  /** The key was read again from its file and has changed. */
  keyRotated(): void
  /** The key's file cannot be used; the key in force stays. */
  keyReloadFailed(reason: string): void
}

/** What is read, not told: the state of the parts at the moment of a scrape. */
export interface Gauges {
  /** The names of the clients that may ask, null where whoever asks is answered; whether clients have limits. */
  access(): { readonly clients: readonly string[] | null; readonly isLimited: boolean }
  cache(): { readonly entries: number; readonly bytes: number }
  upstream(): {
    readonly inFlight: number
    readonly queued: number
    readonly circuit: CircuitState
    /** Null without a limit. */
    readonly callsPerSecond: number | null
  }
  /** Null without a quota. */
  quota(): { readonly limit: number; readonly remaining: number; readonly resetAtMs: number } | null
  /** The TTL in force, in ms. */
  effectiveTtlMs(): number
  /** Null without a shared tier. */
  sharedCacheUp(): boolean | null
}

/** One observer for many: each in the list, as it is at that moment, hears everything it has a method for. */
export function broadcast(listeners: readonly Partial<Observer>[]): Observer {
  const tell =
    <E extends keyof Observer>(event: E) =>
    (...details: Parameters<Observer[E]>) => {
      for (const listener of listeners) {
        const hear = listener[event] as ((...details: Parameters<Observer[E]>) => void) | undefined
        hear?.apply(listener, details)
      }
    }
  return {
    requestAnswered: tell('requestAnswered'),
    requestFailed: tell('requestFailed'),
    accessLogged: tell('accessLogged'),
    clientIdentified: tell('clientIdentified'),
    clientLimited: tell('clientLimited'),
    clientsChanged: tell('clientsChanged'),
    clientsReloadFailed: tell('clientsReloadFailed'),
    lookedUp: tell('lookedUp'),
    evicted: tell('evicted'),
    sharedCacheLookedUp: tell('sharedCacheLookedUp'),
    sharedCacheChanged: tell('sharedCacheChanged'),
    upstreamAnswered: tell('upstreamAnswered'),
    circuitChanged: tell('circuitChanged'),
    upstreamRejected: tell('upstreamRejected'),
    upstreamRecovered: tell('upstreamRecovered'),
    quotaSpent: tell('quotaSpent'),
    keyRotated: tell('keyRotated'),
    keyReloadFailed: tell('keyReloadFailed'),
  }
}
