import { AnotherStationError } from '../../src/availability/decode.ts'
import type { Availability } from '../../src/availability/model.ts'
import type { LoadOptions, Source } from '../../src/source.ts'
import { ServiceError } from '../../src/errors.ts'
import { upstreamErrorOf } from '../../src/upstream/tomtom/error.ts'
import type { CircuitOutcome, UpstreamErrorOptions } from '../../src/upstream/outcomes.ts'
import { UpstreamError } from '../../src/upstream/outcomes.ts'
import { settled } from '../support/clock.ts'
import { referenceStation } from '../support/stations.ts'

/** Requests without a cached answer, and with a stale one, and a refresh. */
export const CALLER: LoadOptions = { lowPriority: false, hasStale: false }
export const HOLDER: LoadOptions = { lowPriority: false, hasStale: true }
export const REFRESH: LoadOptions = { lowPriority: true, hasStale: true }

/** A call that has reached the innermost Source, and stays in flight until the test ends it. */
export interface Sent {
  readonly id: string
  readonly call: LoadOptions
  /** When, on the test's clock. */
  readonly at: number
  answer(): Promise<void>
  fail(error: unknown): Promise<void>
}

/** The innermost Source: records every call, and keeps each in flight until the test ends it, or ends all alike. */
export class ScriptedSource {
  readonly sent: Sent[] = []
  /** When set, each call ends so at once. */
  always: ((id: string) => Availability | Promise<Availability>) | null = null
  readonly #now: () => number

  constructor(now: () => number = () => 0) {
    this.#now = now
  }

  readonly source: Source = (id, call) =>
    new Promise((resolve, reject) => {
      const answer = () => {
        resolve(referenceStation(id))
        return settled()
      }
      const fail = (error: unknown) => {
        reject(error instanceof Error ? error : new Error(String(error)))
        return settled()
      }
      this.sent.push({ id, call, at: this.#now(), answer, fail })
      if (this.always !== null) resolve(Promise.resolve(id).then(this.always))
    })

  /** The last call that was sent. */
  get last(): Sent {
    const last = this.sent.at(-1)
    if (last === undefined) throw new Error('nothing was sent')
    return last
  }
}

/** Always answers. */
export const answering = (id: string) => referenceStation(id)

/** Always fails so. */
export const failing = (error: () => unknown) => () => {
  throw error()
}

export type Failure = UpstreamError['outcome']

const STATUS: Record<Failure, number | undefined> = {
  bad_request: 400,
  not_found: 404,
  throttled: 429,
  refused: 403,
  server_error: 500,
  invalid: 200,
  timeout: undefined,
  network: undefined,
}

/** The error of an attempt with this outcome. */
export function failure(outcome: Failure, options: Partial<UpstreamErrorOptions> = {}): UpstreamError {
  const status = STATUS[outcome]
  return new UpstreamError(outcome, {
    reason: `scripted ${outcome}`,
    ...(status !== undefined && { upstreamStatus: status }),
    ...options,
  })
}

/** A connection that broke, as the HTTP client reports it. */
export function broken(): UpstreamError {
  return upstreamErrorOf(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }))
}

/** No connection was made: upstream cannot have seen the call. */
export function unreached(): UpstreamError {
  return upstreamErrorOf(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }), false)
}

/** The error of a call that a limit of this service denied. */
export function limited(): ServiceError {
  return new ServiceError('TooManyRequests', { reason: 'no token', retryAfterMs: 1_000 })
}

/** The end of a call: `ok`, an error's code, or `pending` before it. */
export interface Watched {
  readonly state: string
  readonly error: ServiceError | null
}

export function watch(call: Promise<unknown>): Watched {
  const watched = { state: 'pending', error: null as ServiceError | null }
  const record = async () => {
    try {
      await call
      watched.state = 'ok'
    } catch (error) {
      watched.error = error instanceof ServiceError ? error : null
      watched.state = watched.error?.code ?? String(error)
    }
  }
  void record()
  return watched
}

/** The end of a call that ends by itself. */
export async function ended(call: Promise<unknown>): Promise<Watched> {
  const watched = watch(call)
  await settled()
  return watched
}

/** The error of a call; for `ok`, an answer. */
export type Ending = () => unknown
export const ok: Ending = () => null
export const serverError = () => failure('server_error')

/** Every end of a call, and what it means for the circuit. */
export const ENDINGS: readonly [name: string, how: Ending, means: CircuitOutcome][] = [
  ['an answer', ok, 'success'],
  ['400', () => failure('bad_request'), 'success'],
  ['404', () => failure('not_found'), 'success'],
  ['500', serverError, 'failure'],
  ['an invalid answer', () => failure('invalid'), 'failure'],
  ['an answer for another id', () => upstreamErrorOf(new AnotherStationError()), 'success'],
  ['another 4xx', () => failure('invalid', { upstreamStatus: 414 }), 'success'],
  ['a redirect', () => failure('invalid', { upstreamStatus: 302 }), 'failure'],
  ['a timeout', () => failure('timeout'), 'failure'],
  ['a broken connection', () => failure('network', { connectionBroke: true }), 'failure'],
  ['no connection', () => failure('network', { sent: false }), 'failure'],
  ['429', () => failure('throttled'), 'ignored'],
  ['401 or 403', () => failure('refused'), 'ignored'],
  ['a limit of this service', limited, 'ignored'],
  ['a defect', () => new TypeError('a mistake'), 'ignored'],
  ['no error object', () => 'thrown', 'ignored'],
]
