import { randomUUID } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { decodeAvailability, MAX_SHORT_TEXT } from '../../availability/decode.ts'
import type { Availability } from '../../availability/model.ts'
import type { Source } from '../../source.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Observer } from '../../events.ts'
import { Turns } from '../../lib/turns.ts'
import { MAX_BODY_BYTES, readText } from './body.ts'
import { createConnections } from './connections.ts'
import type { UpstreamResponse } from './send.ts'
import { sendRequest, trackSent } from './send.ts'
import { isDefect, outcomeOfStatus, rejectionKind, upstreamErrorOf } from './error.ts'
import type { RepeatsKey } from './repeated-key.ts'
import { createKeyFinder } from './repeated-key.ts'
import { parseRetryAfter } from './retry-after.ts'
import { OUTCOMES, UpstreamError } from '../outcomes.ts'
import type { ProxyTunnel } from './proxy-tunnel.ts'
import type { PoolOptions } from './pool.ts'
import { createPool } from './pool.ts'

export interface TomTomOptions extends PoolOptions {
  readonly userAgent: string
  /** Value of the `Referer` header; null or absent for none. */
  readonly referer?: string | null
}

export interface TomTomDeps {
  /** The key in force at the moment of a call. */
  readonly apiKey: () => string
  readonly observer: Pick<Observer, 'upstreamAnswered'>
  readonly clock: Clock
  /** Shared with what else decodes long answers; its own if absent. */
  readonly turns?: Turns
}

export interface TomTom {
  readonly source: Source
  /** Attempts in flight. */
  readonly inFlight: () => number
  /** Closes all connections, also those in use. */
  readonly close: () => Promise<void>
}

/** The endpoint's path. No part of a client's request becomes part of it. */
const PATH = '/search/2/chargingAvailability.json'
/** Longest wait for the body of a rejection. Calls for other stations continue until then, so it is short. */
const ERROR_BODY_TIMEOUT_MS = 250

/**
 * TomTom's endpoint as a Source: one GET for the unfiltered JSON answer of one station, which takes nothing from the
 * client's request. TLS is verified and redirects are not followed; both are defaults of undici, and tests check them.
 */
export function createTomTom(options: TomTomOptions, deps: TomTomDeps): TomTom {
  const { observer, clock } = deps
  const { pool, tunnel } = createPool(options)
  const pools = [pool]
  const fresh = (): Dispatcher => {
    const [, present] = pools
    if (present !== undefined) return trackSent(present)
    const { pool: added } = createPool({ ...options, isFresh: true, tunnel })
    pools.push(added)
    return trackSent(added)
  }
  const connections = createConnections(trackSent(pool), fresh, clock)
  const attempt = { ...deps, finderOf: createKeyFinder(), turns: deps.turns ?? new Turns() }
  let inFlight = 0

  const source: Source = async (id, loadOptions) => {
    const startedAt = clock.now()
    const seconds = () => (clock.now() - startedAt) / 1000
    inFlight++
    try {
      const availability = await requestAvailability(
        connections.current(),
        id,
        { ...options, ...loadOptions },
        attempt,
      )
      observer.upstreamAnswered(availability.connectors.length === 0 ? 'empty' : 'ok', seconds())
      return availability
    } catch (thrown) {
      if (isDefect(thrown)) throw thrown
      const error = upstreamErrorOf(proxyTimeout(thrown, tunnel) ?? thrown)
      if (error.isTransient && error.outcome === 'network') connections.broke()
      observer.upstreamAnswered(error.outcome, seconds())
      throw error
    } finally {
      inFlight--
    }
  }
  const close = async () => {
    tunnel?.close()
    await Promise.all(pools.map((one) => one.destroy()))
  }
  return { source, inFlight: () => inFlight, close }
}

/** The deadline of a call may end before that of its tunnel: the error is the proxy's all the same. */
function proxyTimeout(thrown: unknown, tunnel: ProxyTunnel | null): unknown {
  const isUnsent = thrown instanceof UpstreamError && thrown.outcome === 'timeout' && !thrown.sent
  return isUnsent ? tunnel?.pendingError() : null
}

/** The path of the base URL; empty without one. */
function pathOf(baseUrl: string): string {
  return new URL(baseUrl).pathname.replace(/\/$/, '')
}

interface AttemptDeps extends TomTomDeps {
  readonly finderOf: (key: string) => RepeatsKey
  readonly turns: Turns
}

async function requestAvailability(
  dispatcher: Dispatcher,
  id: string,
  { baseUrl, timeoutMs, userAgent, referer }: TomTomOptions,
  deps: AttemptDeps,
): Promise<Availability> {
  const key = deps.apiKey()
  const request = {
    method: 'GET' as const,
    path: `${pathOf(baseUrl)}${PATH}?key=${encodeURIComponent(key)}&chargingAvailability=${encodeURIComponent(id)}`,
    headers: {
      accept: 'application/json',
      'accept-encoding': 'gzip',
      'user-agent': userAgent,
      'tracking-id': randomUUID(),
      ...(referer && { referer }),
    },
  }
  const response = await sendRequest(dispatcher, request, timeoutMs)
  if (response.statusCode !== 200) throw await errorOf(response, deps.clock)
  const text = await readText(response, deps.turns)
  const availability = decodeAvailability(text, id)
  if (deps.finderOf(key)(availability, text)) {
    throw new UpstreamError('invalid', { reason: 'not an answer: the body repeats the key' })
  }
  if (text.length > MAX_SHORT_TEXT) await deps.turns.continue() // rendering takes as long as decoding
  return availability
}

/** The error for a status other than 200. Error bodies have many shapes; they are read, and never passed on. */
async function errorOf(response: UpstreamResponse, clock: Clock): Promise<UpstreamError> {
  const { statusCode, headers, body } = response
  const outcome = outcomeOfStatus(statusCode)
  const isRejection = OUTCOMES[outcome].coolDown
  const text = isRejection ? await readErrorBody(response, clock) : ''
  if (!isRejection) void body.dump({ limit: MAX_BODY_BYTES }).catch(() => {})
  return new UpstreamError(outcome, {
    reason: `upstream answered ${statusCode}`,
    upstreamStatus: statusCode,
    retryAfterMs: parseRetryAfter(headers['retry-after']?.toString(), clock.wall()),
    rejection: rejectionKind(statusCode, text),
  })
}

/** The body of a rejection. Empty if it takes too long or cannot be read: the status alone is enough. */
async function readErrorBody(response: UpstreamResponse, clock: Clock): Promise<string> {
  const cancel = clock.after(ERROR_BODY_TIMEOUT_MS, () => response.body.destroy())
  const text = await readText(response).catch(() => '')
  cancel()
  return text
}
