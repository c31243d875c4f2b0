import type { Availability } from '../../src/availability/model.ts'
import type { LoadOptions, Source } from '../../src/source.ts'
import { ServiceError } from '../../src/errors.ts'
import { upstreamErrorOf } from '../../src/upstream/tomtom/error.ts'
import type { UpstreamErrorOptions } from '../../src/upstream/outcomes.ts'
import { UpstreamError } from '../../src/upstream/outcomes.ts'
import { settled } from '../support/clock.ts'
import { referenceStation } from '../support/stations.ts'

/** A caller who has nothing, one who holds an old answer, and a refresh that nobody waits for. */
export const CALLER: LoadOptions = { lowPriority: false, hasStale: false }
export const HOLDER: LoadOptions = { lowPriority: false, hasStale: true }
export const REFRESH: LoadOptions = { lowPriority: true, hasStale: true }

/** A call that has reached the innermost Source, and waits to be told how it ends. */
export interface Sent {
  readonly id: string
  readonly call: LoadOptions
  /** When, on the test's clock. */
  readonly at: number
  answer(): Promise<void>
  fail(error: unknown): Promise<void>
}

/** The innermost Source: remembers every call, and holds each until the test ends it, or ends all alike. */
export class ScriptedSource {
  readonly sent: Sent[] = []
  /** When set, no call waits: each ends so. */
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

/** What an attempt that ended so throws. */
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

/** Nobody listened: upstream cannot have seen the call. */
export function unreached(): UpstreamError {
  return upstreamErrorOf(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }), false)
}

/** A call that one of our own limits kept back. */
export function keptBack(): ServiceError {
  return new ServiceError('TooManyRequests', { reason: 'no place', retryAfterMs: 1_000 })
}

/** How a call ends: `ok`, an error's code, or `pending` as long as it does not. */
export interface Watched {
  readonly state: string
  readonly error: ServiceError | null
}

export function watch(call: Promise<unknown>): Watched {
  const watched = { state: 'pending', error: null as ServiceError | null }
  const note = async () => {
    try {
      await call
      watched.state = 'ok'
    } catch (error) {
      watched.error = error instanceof ServiceError ? error : null
      watched.state = watched.error?.code ?? String(error)
    }
  }
  void note()
  return watched
}

/** How a call ended, of one that has ended. */
export async function ended(call: Promise<unknown>): Promise<Watched> {
  const watched = watch(call)
  await settled()
  return watched
}
