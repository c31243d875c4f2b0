/**
 * Error codes and the status of each. A code is part of the contract with clients: never renamed, never reused.
 */
export const STATUS_OF = {
  MissingParameter: 400,
  InvalidParameter: 400,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  RequestTimeout: 408,
  PayloadTooLarge: 413,
  UnsupportedMediaType: 415,
  TooManyRequests: 429,
  HeadersTooLarge: 431,
  InternalError: 500,
  UpstreamRefused: 502,
  UpstreamFailed: 502,
  UpstreamUnavailable: 503,
  QuotaExhausted: 503,
  TooManyStreams: 503,
  UpstreamTimeout: 504,
} as const

export type ErrorCode = keyof typeof STATUS_OF

/** Public messages of all errors except invalid parameters; the reason is only logged. */
const PUBLIC_MESSAGE: Record<Exclude<ErrorCode, 'MissingParameter' | 'InvalidParameter'>, string> = {
  Forbidden: 'The key is missing or not valid.',
  NotFound: 'The requested resource could not be found.',
  MethodNotAllowed: 'The method is not allowed for this resource.',
  RequestTimeout: 'The request was not completed in time.',
  PayloadTooLarge: 'The body of the request is too large.',
  UnsupportedMediaType: 'The body of the request must be application/json.',
  TooManyRequests: 'Too many requests. Try again later.',
  HeadersTooLarge: 'The request line or the headers are too large.',
  InternalError: 'The service was unable to process the request.',
  UpstreamRefused: 'The availability service did not accept the request of this proxy.',
  UpstreamFailed: 'The availability service failed to give an answer.',
  UpstreamUnavailable: 'The availability service is not available at the moment.',
  QuotaExhausted: 'No call to the availability service can be afforded at the moment.',
  TooManyStreams: 'Too many streams are open. Try again later.',
  UpstreamTimeout: 'The availability service did not answer in time.',
}

/** What the cache does after a load that ended in an error. */
export interface CacheRule {
  /**
   * What is kept for the station. `negative`: the error, as upstream's answer about this id; `back-off`: a pause
   * between calls for it; `none`: nothing, because no call failed for this station.
   */
  readonly station: 'negative' | 'back-off' | 'none'
  /** Whether a stale answer is served instead of the error. */
  readonly staleFallback: boolean
}

const NO_RULE: CacheRule = { station: 'none', staleFallback: false }
const STALE_ONLY: CacheRule = { station: 'none', staleFallback: true }
const NEGATIVE: CacheRule = { station: 'negative', staleFallback: false }
const BACK_OFF: CacheRule = { station: 'back-off', staleFallback: true }

/** A stale answer never replaces a 400 or 404: upstream's is an answer about the id, a client's is its own error. */
export const CACHE_RULES: Readonly<Record<ErrorCode, CacheRule>> = {
  MissingParameter: NO_RULE,
  InvalidParameter: NEGATIVE,
  Forbidden: NO_RULE,
  NotFound: NEGATIVE,
  MethodNotAllowed: NO_RULE,
  RequestTimeout: NO_RULE,
  PayloadTooLarge: NO_RULE,
  UnsupportedMediaType: NO_RULE,
  TooManyRequests: STALE_ONLY,
  HeadersTooLarge: NO_RULE,
  InternalError: BACK_OFF,
  UpstreamRefused: STALE_ONLY,
  UpstreamFailed: BACK_OFF,
  UpstreamUnavailable: STALE_ONLY,
  QuotaExhausted: STALE_ONLY,
  TooManyStreams: NO_RULE,
  UpstreamTimeout: BACK_OFF,
}

export interface ServiceErrorOptions {
  /** Public; contains neither values of the request nor internals. */
  readonly message?: string
  /** Public; a longer sentence for `detailedError.message`. Defaults to the message. */
  readonly detail?: string
  /** When a retry may succeed, in ms from now. */
  readonly retryAfterMs?: number
  /** Internal; only logged. */
  readonly reason?: string
  readonly cause?: unknown
}

/**
 * The base class of all errors. `message` and `detail` are public; `reason` and `cause` are only logged. An instance is
 * shared by all waiters of an in-flight call, so it is frozen (subclasses freeze themselves). It has no stack: V8 keeps
 * `this` of every function in it alive until somebody reads it, such as an answer of 4 MB, and instances are remembered.
 * An error that nobody expected is the cause, and has one.
 */
export class ServiceError extends Error {
  readonly code: ErrorCode
  readonly detail: string
  readonly retryAfterMs: number | undefined
  readonly reason: string | undefined

  constructor(code: ErrorCode, options: ServiceErrorOptions = {}) {
    const message =
      options.message ?? (PUBLIC_MESSAGE as Record<string, string>)[code] ?? 'The request is not valid.'
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    Error.stackTraceLimit = stackTraceLimit
    void this.stack // with a debugger attached V8 keeps as much all the same, until it is read
    this.name = 'ServiceError'
    this.code = code
    this.detail = options.detail ?? message
    this.retryAfterMs = options.retryAfterMs
    this.reason = options.reason
    if (new.target === ServiceError) Object.freeze(this)
  }

  get status(): number {
    return STATUS_OF[this.code]
  }
}

/** A call that its client's share of the quota does not allow. Other clients may still make it. */
export class ClientQuotaError extends ServiceError {
  constructor(retryAfterMs: number) {
    super('QuotaExhausted', { reason: "the client's share of the quota is spent", retryAfterMs })
    Object.freeze(this)
  }
}

/** A call for an id of which nothing is known, while such calls are held back. Calls for other stations may still be made. */
export class UnknownIdError extends ServiceError {
  constructor(retryAfterMs: number) {
    super('QuotaExhausted', { reason: 'the allowance for unknown ids is used up', retryAfterMs })
    Object.freeze(this)
  }
}

/**
 * A required parameter is missing. Both sentences are those of the endpoint's reference.
 * @param given the name of a parameter that was probably meant to be this one
 */
export function missingParameter(name: string, given?: string): ServiceError {
  const hint = given === undefined ? '' : ` '${given}' was given; the parameter is called '${name}'.`
  return new ServiceError('MissingParameter', {
    message: `Missing parameter '${name}'`,
    detail: `Missing required parameter '${name}'.${hint}`,
  })
}

/** A parameter breaks `rule`. The error contains the rule but never the value. */
export function invalidParameter(name: string, rule: string): ServiceError {
  return new ServiceError('InvalidParameter', {
    message: `Invalid parameter '${name}'`,
    detail: `Parameter '${name}' ${rule}.`,
  })
}

/** The request as a whole is not well formed. */
export function malformedRequest(rule: string): ServiceError {
  return new ServiceError('InvalidParameter', { message: 'Malformed request', detail: `${rule}.` })
}

/** The body of an error response in JSON, in the shape that the endpoint's reference documents. */
export function errorJson({ code, message, detail, status }: ServiceError): string {
  return JSON.stringify({ message, detailedError: { code, message: detail }, httpStatusCode: String(status) })
}

/** For a request or a call for which there is no room among everything that waits. */
export const TOO_MUCH_WAITS = new ServiceError('UpstreamUnavailable', {
  reason: 'too many requests and calls wait',
  retryAfterMs: 1_000,
})

/** Anything thrown as a ServiceError; any other error becomes InternalError with the original as cause. */
export function asServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error
  return new ServiceError('InternalError', { reason: 'unexpected error', cause: error })
}

/** Whether a stale answer is served instead of this error, if one is cached. */
export function allowsStaleFallback(error: ServiceError): boolean {
  return CACHE_RULES[error.code].staleFallback
}

/** The error for bytes that Node's HTTP parser rejects, or for a request that was not complete in time. */
export function protocolError({ code, message }: NodeJS.ErrnoException): ServiceError {
  const reason = code ?? message
  if (code === 'HPE_HEADER_OVERFLOW') return new ServiceError('HeadersTooLarge', { reason })
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new ServiceError('RequestTimeout', { reason })
  return malformedRequest('The request is not valid HTTP')
}
