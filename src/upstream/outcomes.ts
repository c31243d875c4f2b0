import type { ErrorCode } from '../errors.ts'
import { CACHE_RULES, ServiceError } from '../errors.ts'
import type { UpstreamOutcome } from '../events.ts'

/** What an outcome means for the circuit breaker. `ignored` counts neither for nor against upstream. */
export type CircuitOutcome = 'success' | 'failure' | 'ignored'

export interface OutcomeRule {
  /** The code of the client's error response; null for an answer. */
  readonly code: ErrorCode | null
  /** `per-station`: a success if {@link UpstreamError.upstreamHealthy}, else a failure. */
  readonly circuit: CircuitOutcome | 'per-station'
  /** Whether all calls pause afterwards. */
  readonly coolDown: boolean
  /** `gateway`: after 502, 503 or 504; `broken`: if the connection broke after it was made. */
  readonly retry: 'never' | 'gateway' | 'broken'
}

/**
 * What each outcome of an attempt means. What the cache does with it follows from the code: see `CACHE_RULES`.
 *
 * A rejection (401, 403, 429) concerns the key of this service, so its code never blames the client. It is no failure
 * for the circuit: the gateway in front of upstream answered, and the cool-down reacts to it.
 */
export const OUTCOMES = {
  ok: { code: null, circuit: 'success', coolDown: false, retry: 'never' },
  empty: { code: null, circuit: 'success', coolDown: false, retry: 'never' },
  bad_request: { code: 'InvalidParameter', circuit: 'success', coolDown: false, retry: 'never' },
  not_found: { code: 'NotFound', circuit: 'success', coolDown: false, retry: 'never' },
  throttled: { code: 'TooManyRequests', circuit: 'ignored', coolDown: true, retry: 'never' },
  refused: { code: 'UpstreamRefused', circuit: 'ignored', coolDown: true, retry: 'never' },
  server_error: { code: 'UpstreamFailed', circuit: 'failure', coolDown: false, retry: 'gateway' },
  invalid: { code: 'UpstreamFailed', circuit: 'per-station', coolDown: false, retry: 'never' },
  timeout: { code: 'UpstreamTimeout', circuit: 'failure', coolDown: false, retry: 'never' },
  network: { code: 'UpstreamFailed', circuit: 'failure', coolDown: false, retry: 'broken' },
} as const satisfies Record<UpstreamOutcome, OutcomeRule>

/** Statuses of the gateway in front of upstream when it cannot reach what is behind it. */
const GATEWAY_STATUSES: ReadonlySet<number | undefined> = new Set([502, 503, 504])

/** The likely cause of a 401, 403 or 429, as far as its body shows it. */
export type RejectionKind = 'over_quota' | 'throttled' | 'bad_key' | 'referer' | 'unclear'

export interface UpstreamErrorOptions {
  readonly reason: string
  readonly cause?: unknown
  /** The status that upstream answered with, if it answered. */
  readonly upstreamStatus?: number
  /** Upstream's own Retry-After, in ms and clamped, if it sent one. */
  readonly retryAfterMs?: number | undefined
  readonly rejection?: RejectionKind
  /** The connection broke after it was made. */
  readonly connectionBroke?: boolean
  /** Upstream works, though it has no answer for this id; by default after any 4xx. */
  readonly upstreamHealthy?: boolean
  /** Whether upstream can have seen the request; false only if no connection was made or was free in time. */
  readonly sent?: boolean
}

/** An attempt without an answer. */
export class UpstreamError extends ServiceError {
  readonly outcome: Exclude<UpstreamOutcome, 'ok' | 'empty'>
  readonly upstreamStatus: number | undefined
  readonly rejection: RejectionKind
  readonly sent: boolean
  readonly #connectionBroke: boolean
  readonly #upstreamHealthy: boolean

  constructor(outcome: UpstreamError['outcome'], options: UpstreamErrorOptions) {
    const { reason, cause, retryAfterMs, upstreamStatus } = options
    super(OUTCOMES[outcome].code, { reason, cause, ...(retryAfterMs !== undefined && { retryAfterMs }) })
    this.name = 'UpstreamError'
    this.outcome = outcome
    this.upstreamStatus = upstreamStatus
    this.rejection = options.rejection ?? 'unclear'
    this.sent = options.sent ?? true
    this.#connectionBroke = options.connectionBroke ?? false
    this.#upstreamHealthy =
      options.upstreamHealthy ??
      (upstreamStatus !== undefined && upstreamStatus >= 400 && upstreamStatus < 500)
    Object.freeze(this)
  }

  /** Whether upstream rejected the key or throttled it, so that all calls must pause. */
  get isRejection(): boolean {
    return OUTCOMES[this.outcome].coolDown
  }

  /** Whether a second attempt soon after is likely to succeed. */
  get isTransient(): boolean {
    const { retry } = OUTCOMES[this.outcome]
    if (retry === 'gateway') return GATEWAY_STATUSES.has(this.upstreamStatus)
    return retry === 'broken' && this.#connectionBroke
  }

  get circuitOutcome(): CircuitOutcome {
    const { circuit } = OUTCOMES[this.outcome]
    if (circuit !== 'per-station') return circuit
    // Otherwise a client that requests odd ids could open the circuit for all.
    return this.#upstreamHealthy ? 'success' : 'failure'
  }
}

/**
 * What an error means for the circuit breaker. Errors of other classes are ignored: limits of this service and defects,
 * after which nothing was sent, and rejections, which the cool-down rethrows as a plain ServiceError.
 */
export function circuitOutcome(error: unknown): CircuitOutcome {
  return error instanceof UpstreamError ? error.circuitOutcome : 'ignored'
}

const CIRCUIT_TEXT: Record<OutcomeRule['circuit'], string> = {
  success: 'success',
  failure: 'failure',
  ignored: 'ignored',
  'per-station': 'failure; success after another 4xx or an answer for another id',
}
const RETRY_TEXT: Record<OutcomeRule['retry'], string> = {
  never: '–',
  gateway: '502, 503, 504',
  broken: 'if the connection broke',
}
const STATION_TEXT = { negative: 'negative cache', 'back-off': 'back-off', none: '–' } as const

/** The table of outcomes in Markdown, as docs/architecture.md has it. */
export function renderOutcomeTable(): string {
  const rows = Object.entries<OutcomeRule>(OUTCOMES).map(([outcome, { code, circuit, coolDown, retry }]) => {
    const cache = code === null ? null : CACHE_RULES[code]
    return [
      `\`${outcome}\``,
      code === null ? '–' : `\`${code}\``,
      CIRCUIT_TEXT[circuit],
      coolDown ? 'yes' : '–',
      RETRY_TEXT[retry],
      cache === null ? '–' : STATION_TEXT[cache.station],
      cache === null ? '–' : cache.staleFallback ? 'yes' : 'no',
    ]
  })
  const head = ['outcome', 'client code', 'circuit', 'cool-down', 'retry', 'per station', 'stale instead']
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
