/**
 * The events that components emit. A component gets an `Observer` and calls its methods; it does not know the listeners,
 * which are metrics, log and status page in ops/. Every label is one of a closed set: ids, paths and error texts never
 * become labels.
 */
export const FORMATS = ['json', 'xml', 'none'] as const
export type FormatLabel = (typeof FORMATS)[number]

/** Instead of a status, for a client that left before its response. */
export const CLIENT_LEFT = 499

/** Every status that the public listener sends, and CLIENT_LEFT. */
// prettier-ignore
export const STATUSES = [
  200, 204, 304, 400, 403, 404, 405, 408, 413, 415, 429, 431, CLIENT_LEFT, 500, 502, 503, 504,
] as const

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

/** How a good answer compares with the one before it of the same station. */
export const ANSWER_CHANGES = ['first', 'same', 'different'] as const
export type AnswerChange = (typeof ANSWER_CHANGES)[number]

/** An answer that the cache has stored. */
export interface StoredAnswer {
  readonly id: string
  readonly change: AnswerChange
  /** Another replica made the call. */
  readonly fromPeer: boolean
  /** Time between the receipts of this answer and the one before it, in ms; 0 for the first. */
  readonly sinceMs: number
}

/** A quota that is too small for the stations in use, even if each is called only once per CACHE_MAX_TTL. */
export interface QuotaShortfall {
  readonly stations: number
  readonly callsNeeded: number
  readonly quota: `${number}/${'day' | 'month'}`
  readonly maxTtlMs: number
}

/** What holds a connection open: an event stream, or a request with `Prefer: wait`. */
export const STREAM_KINDS = ['stream', 'long_poll'] as const
export type StreamKind = (typeof STREAM_KINDS)[number]

/** The events that streams send. */
export const STREAM_EVENTS = ['availability', 'problem'] as const
export type StreamEvent = (typeof STREAM_EVENTS)[number]

/**
 * Why a stream ended: the client left, ten minutes were over, the service drains, the client did not read, its key was
 * removed, CACHE_TTL became 0.
 */
export type StreamEnd = 'client' | 'lifetime' | 'draining' | 'slow' | 'key' | 'settings'

/** How a lookup in the shared cache ended. `error`: the command failed, or the value cannot be decoded. */
export const SHARED_RESULTS = ['hit', 'miss', 'error'] as const
export type SharedResult = (typeof SHARED_RESULTS)[number]

/** `closed`: calls are sent; `open`: none is sent; `half_open`: a single probe is in flight. */
export const CIRCUIT_STATES = ['closed', 'open', 'half_open'] as const
export type CircuitState = (typeof CIRCUIT_STATES)[number]

/** The limit per client that was exceeded: requests per second, requests that wait for upstream, or the quota's share. */
export const CLIENT_LIMITS = ['rate', 'in_flight', 'quota'] as const
export type ClientLimit = (typeof CLIENT_LIMITS)[number]

/** Why a call to upstream that was wanted is not made. */
export const HELD_BACK_BY = ['quota', 'rate', 'circuit', 'cool_down'] as const
export type HeldBackBy = (typeof HELD_BACK_BY)[number]

/** The files of keys that are reloaded when they change. */
export const KEY_FILES = ['api_key', 'client_keys'] as const
export type KeyFile = (typeof KEY_FILES)[number]

/** Why the circuit breaker opened, and when it sends its next probe. */
export interface CircuitDetails {
  /** The error of the last call that failed. */
  readonly lastError?: string
  /** Until the next probe, in ms. */
  readonly probeInMs?: number
}

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
  /** The client's address, as LOG_CLIENT_ADDRESS allows; absent if it is off. */
  readonly clientAddress?: string
  /** The User-Agent of a client error. */
  readonly userAgent?: string
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
  readonly clientAddress?: string
  readonly method: string
  /** The path without the query. */
  readonly path: string
  readonly status: number
  readonly result: RequestResult
  readonly ms: number
}

type Event<Details extends unknown[]> = (...details: Details) => void
const event = () => {}

/** Every event: `EVENT_NAMES` and the type `Observer` follow from this object. */
const EVENTS = {
  /** A response was sent on the public listener. */
  requestAnswered: event as Event<
    [format: FormatLabel, status: number, result: RequestResult, seconds: number]
  >,
  /** A request ended in an error response. */
  requestFailed: event as Event<[failure: RequestFailure]>,
  /** There was no room for what waits: a 503 for a request or an item of a batch, or the end of a connection. */
  overloaded: event as Event<[]>,
  /** A response was sent; emitted only while the access log is on. */
  accessLogged: event as Event<[access: Access]>,
  /** A client was identified; emitted only where clients have keys. Null without a known key. */
  clientIdentified: event as Event<[name: string | null]>,
  /** A client exceeded one of its limits. Null without a known key. */
  clientLimited: event as Event<[limit: ClientLimit, name: string | null]>,
  /** A call was sent that a lookup of this client had started; emitted only where clients have keys. */
  clientCalled: event as Event<[name: string]>,
  /** The file of client keys was reloaded with a change. The names are those of all clients. */
  clientsChanged: event as Event<[names: readonly string[]]>,
  /** The file of client keys cannot be used; the current keys stay. The reason repeats no text of the file. */
  clientsReloadFailed: event as Event<[reason: string]>,
  /** A cache lookup ended; `ageSeconds` of the answer that was served, null without one. */
  lookedUp: event as Event<[result: CacheResult, ageSeconds: number | null]>,
  /** Upstream's answer had no connectors, and a full one is served in its place until this is confirmed. */
  emptyDoubted: event as Event<[]>,
  /** An answer was stored; `id` is for components, never a label. */
  answerStored: event as Event<[stored: StoredAnswer]>,
  /** An entry was evicted because the cache was full. */
  evicted: event as Event<[]>,
  /** An event stream was opened. */
  streamOpened: event as Event<[trackingId: string, stations: number]>,
  /** An event stream ended after so many events. */
  streamClosed: event as Event<[trackingId: string, reason: StreamEnd, seconds: number, events: number]>,
  /** An event was sent to a stream. */
  eventSent: event as Event<[event: StreamEvent]>,
  /** WATCH_FILE was read; `stations` are watched. */
  watchFileLoaded: event as Event<[stations: number]>,
  /** A line of WATCH_FILE is not used. */
  watchFileLineSkipped: event as Event<[line: number, reason: string]>,
  /** WATCH_FILE cannot be read; the present stations stay. */
  watchFileFailed: event as Event<[reason: string]>,
  /** A lookup in the shared cache ended. */
  sharedCacheLookedUp: event as Event<[result: SharedResult]>,
  /** The connection to Redis or the use of the state directory began or ended. The reason contains no secret. */
  sharedCacheChanged: event as Event<[up: boolean, reason: string]>,
  /** A purge did not reach the shared cache, and is kept until it does. */
  purgePending: event as Event<[]>,
  /** Purges that were kept are done in the shared cache. */
  purgeApplied: event as Event<[]>,
  /** A call that was wanted was not made. */
  upstreamHeldBack: event as Event<[by: HeldBackBy]>,
  /** Redis works, but rejected a command. The reason contains no text of the server. */
  sharedCommandRejected: event as Event<[reason: string]>,
  /** Redis may evict the count of the quota under this `maxmemory-policy`. */
  quotaMayBeEvicted: event as Event<[policy: string]>,
  /** The store file could not be read and was moved to `keptAs`; an empty one takes its place. */
  stateFileReplaced: event as Event<[path: string, keptAs: string]>,
  /** An attempt to call upstream ended. */
  upstreamAnswered: event as Event<[outcome: UpstreamOutcome, seconds: number]>,
  /** A call for this station was sent; `id` is for the status page, never a label. */
  stationCalled: event as Event<[id: string]>,
  /** The circuit breaker changed its state. */
  circuitChanged: event as Event<[state: CircuitState, details?: CircuitDetails]>,
  /** Calls are paused for this long, because upstream rejected one; emitted for every rejection. */
  coolDownStarted: event as Event<[waitMs: number]>,
  /** Upstream rejected a call (429, 401, 403) after accepted ones, or the likely cause changed. */
  upstreamRejected: event as Event<[rejection: UpstreamRejection]>,
  /** Upstream accepted a call after a rejection. */
  upstreamRecovered: event as Event<[]>,
  /** Usage of the quota reached 50, 80, 95 or 100 percent; once for each in a period. */
  quotaSpent: event as Event<[percent: number, remaining: number, resetAt: Date]>,
  /** The quota has become too small for the stations in use. */
  quotaTooSmall: event as Event<[shortfall: QuotaShortfall]>,
  /** SETTINGS_FILE was reloaded with a change; the texts of all settings that it can override. */
  settingsChanged: event as Event<[settings: Readonly<Record<string, string>>]>,
  /** SETTINGS_FILE cannot be used; the current settings stay. */
  settingsReloadFailed: event as Event<[reason: string]>,
  /** SETTINGS_FILE can be used again. */
  settingsReloadRecovered: event as Event<[]>,
  /** Upstream rejected the API key at the start: the process is not ready. */
  keyRejectedAtStart: event as Event<[]>,
  /** The API key was reloaded from its file with a change. */
  keyRotated: event as Event<[]>,
  /** The file of the API key cannot be used; the current key stays. */
  keyReloadFailed: event as Event<[reason: string]>,
  /** A file of keys became invalid or unreadable, or valid again. */
  keyFileChecked: event as Event<[file: KeyFile, isValid: boolean]>,
  /** The log's destination did not take lines. */
  logLinesDropped: event as Event<[lines: number]>,
  /** The process cannot open a file or connection; emitted by every check that finds it so. */
  fileDescriptorsExhausted: event as Event<[]>,
  /** The process can open files and connections again. */
  fileDescriptorsFreed: event as Event<[]>,
}

export type Observer = typeof EVENTS

export const EVENT_NAMES = Object.keys(EVENTS)
