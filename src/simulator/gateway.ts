import type { Answer } from './answer.ts'
import { CONTENT_TYPES, renderError } from './render.ts'
import type { Call } from './request.ts'
import { EndpointError } from './request.ts'

/**
 * The errors of the gateway in front of the endpoint; their shapes do not depend on the requested format. The bodies of
 * 401, 429 and 500 were never recorded: these are guesses in the recorded shape.
 */
export const GATEWAY_ANSWERS = {
  Unauthorized: json(401, 'Unauthorized', 'Authentication is required'),
  Forbidden: json(403, 'Forbidden', 'You are not allowed to access this endpoint'),
  InsufficientFunds: json(403, 'InsufficientFunds', 'The credit of this month is used up'),
  InvalidReferer: json(403, 'InvalidReferer', 'The referer is not allowed for this key'),
  DeveloperInactive: html(403, 'Developer Inactive', 'Account Inactive'),
  DeveloperOverQps: html(403, 'Developer Over Qps', 'Account Over Queries Per Second Limit'),
  TooManyRequests: json(429, 'TooManyRequests', 'Too many requests'),
  ServerError: json(500, 'InternalServerError', 'The service was unable to process your request'),
  NoHealthyUpstream: answer(503, 'text/plain', 'no healthy upstream'),
  ServiceNotFound: html(596, '596 Service Not Found', 'Service Not Found'),
} as const satisfies Record<string, Answer>

export type GatewayAnswer = keyof typeof GATEWAY_ANSWERS

export interface GatewayOptions {
  /** The only valid key; null accepts calls without one. */
  readonly key: string | null
  /** Calls in any second; 0 is no limit. */
  readonly maxQps: number
  readonly now: () => number
}

/** The returned function gives the gateway's error for a call, or null if the call may pass. */
export function createGateway({ key, maxQps, now }: GatewayOptions): (call: Call) => Answer | null {
  let passed: number[] = []
  return ({ parameters }) => {
    if (key !== null && parameters.get('key') !== key) return GATEWAY_ANSWERS.Forbidden
    if (maxQps === 0) return null
    passed = passed.filter((at) => at > now() - 1000)
    if (passed.length >= maxQps) return withRetryAfter(GATEWAY_ANSWERS.TooManyRequests, 1)
    passed.push(now())
    return null
  }
}

/** Adds `Retry-After`: seconds, or any text, sent as it is. */
export function withRetryAfter(base: Answer, retryAfter: number | string): Answer {
  return { ...base, headers: { ...base.headers, 'Retry-After': String(retryAfter) } }
}

/** The default response for a status: the first of the table, or the documented error. */
export function answerWithStatus(status: number): Answer {
  const known = Object.values(GATEWAY_ANSWERS).find((candidate) => candidate.status === status)
  if (known !== undefined) return known
  const error = new EndpointError(status, 'Error', `The service answered ${status}`)
  return answer(status, CONTENT_TYPES.json, renderError(error, 'json'))
}

function json(status: number, code: string, message: string): Answer {
  return answer(status, 'application/json', JSON.stringify({ detailedError: { code, message } }))
}

/** The older gateway: a heading, and the reason in a header. */
function html(status: number, headline: string, reason: string): Answer {
  return answer(status, 'text/html', `<h1>${headline}</h1>`, { 'X-Error-Detail-Header': reason })
}

function answer(status: number, type: string, body: string, headers: Record<string, string> = {}): Answer {
  return { status, headers: { 'Content-Type': type, ...headers }, body }
}
