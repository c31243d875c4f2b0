import { errors } from 'undici'
import { AnotherStationError } from '../../availability/decode.ts'
import { ServiceError } from '../../errors.ts'
import type { RejectionKind } from '../outcomes.ts'
import { UpstreamError } from '../outcomes.ts'
import { ProxyError } from './proxy-tunnel.ts'

/** The outcome of a status other than 200; one that is not listed is not a valid answer. */
export function outcomeOfStatus(status: number): UpstreamError['outcome'] {
  if (status === 400) return 'bad_request'
  if (status === 401 || status === 403) return 'refused'
  if (status === 404) return 'not_found'
  if (status === 429) return 'throttled'
  return status >= 500 ? 'server_error' : 'invalid' // 596 is a status of the older gateway
}

/** Marks in the bodies of the gateway: codes in JSON, or the headings of the older gateway. */
const MARKS: readonly (readonly [RegExp, RejectionKind])[] = [
  [/InsufficientFunds|Over Rate|Over Quota/i, 'over_quota'],
  [/Over Qps|TooManyRequests/i, 'throttled'],
  [/InvalidReferer/i, 'referer'],
  [/Developer Inactive|Not Authorized|InvalidKey/i, 'bad_key'],
]

/** The cause that the body of a rejection shows. `Forbidden` can be a bad key or an exhausted quota: unclear. */
export function rejectionKind(status: number, body: string): RejectionKind {
  if (status === 429) return 'throttled'
  return MARKS.find(([mark]) => mark.test(body))?.[1] ?? 'unclear'
}

/** Whether the code of this service failed: that shows nothing of upstream. */
export function isDefect(thrown: unknown): boolean {
  return thrown instanceof TypeError || thrown instanceof RangeError || thrown instanceof ReferenceError
}

/** Anything thrown during an attempt as an UpstreamError. `sent`: whether the request had left. */
export function upstreamErrorOf(thrown: unknown, sent = true): UpstreamError {
  if (thrown instanceof UpstreamError) return thrown
  if (thrown instanceof ServiceError) {
    const reason = thrown.reason ?? thrown.message
    return new UpstreamError('invalid', {
      reason,
      cause: thrown.cause,
      upstreamHealthy: thrown instanceof AnotherStationError,
    })
  }
  if (thrown instanceof ProxyError) {
    return new UpstreamError('network', { reason: thrown.message, cause: thrown.cause, sent: false })
  }
  if (thrown instanceof errors.ConnectTimeoutError) {
    return new UpstreamError('timeout', { reason: 'upstream could not be connected to in time', sent: false })
  }
  if (isTimeout(thrown)) {
    const reason = sent ? 'upstream did not answer in time' : 'no connection to upstream was free in time'
    return new UpstreamError('timeout', { reason, sent })
  }
  if (thrown instanceof errors.ResponseExceededMaxSizeError) {
    return new UpstreamError('invalid', { reason: 'not an answer: the body is larger than allowed' })
  }
  if (isInvalidHttp(thrown)) {
    return new UpstreamError('invalid', {
      reason: 'not an answer: the response is not valid HTTP',
      cause: thrown,
    })
  }
  return networkError(thrown, sent)
}

/** Error codes of a connection that was made and broke; with any other none was made. */
const BROKEN = new Set([
  'ECONNRESET',
  'EPIPE',
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'HPE_INVALID_EOF_STATE', // the connection ended in the middle of a message
])

/** Upstream did answer; another attempt would hardly get a better answer. */
function isInvalidHttp(thrown: unknown): boolean {
  if (thrown instanceof errors.HeadersOverflowError) return true
  return thrown instanceof errors.HTTPParserError && !BROKEN.has(thrown.code)
}

function networkError(cause: unknown, sent: boolean): UpstreamError {
  const { code = 'unknown' } = cause as NodeJS.ErrnoException
  const broken = BROKEN.has(code)
  // A call that was sent is cut off when the service stops.
  const what = sent ? 'the call to upstream was cut off' : 'no connection to upstream'
  const reason = `${broken ? 'the connection to upstream broke' : what} (${code}${addressesOf(cause)})`
  return new UpstreamError('network', { reason, cause, connectionBroke: broken, sent })
}

/** The addresses that were tried, if there were several: the message of an AggregateError is empty. */
function addressesOf(cause: unknown): string {
  if (!(cause instanceof AggregateError)) return ''
  const tried = (cause.errors as (NodeJS.ErrnoException & { address?: string; port?: number })[]).map(
    ({ address, port, code }) => `${address} port ${port}: ${code}`,
  )
  return `; tried ${tried.join(', ')}`
}

function isTimeout(thrown: unknown): boolean {
  return (
    thrown instanceof errors.HeadersTimeoutError ||
    thrown instanceof errors.BodyTimeoutError ||
    (thrown instanceof Error && thrown.name === 'TimeoutError')
  )
}
