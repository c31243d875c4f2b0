import { randomUUID } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { Pool } from 'undici'
import { decodeAvailability } from '../../availability/decode.ts'
import type { Availability } from '../../availability/model.ts'
import type { Source } from '../../source.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Observer } from '../../events.ts'
import { MAX_BODY_BYTES, readText } from './body.ts'
import { createConnections } from './connections.ts'
import type { UpstreamResponse } from './send.ts'
import { sendRequest, trackSent } from './send.ts'
import { isDefect, outcomeOfStatus, rejectionKind, upstreamErrorOf } from './error.ts'
import { parseRetryAfter } from './retry-after.ts'
import { OUTCOMES, UpstreamError } from '../outcomes.ts'

export interface TomTomOptions {
  /** Upstream's origin: scheme, host and port. */
  readonly origin: string
  /** Total time for one attempt in ms, from its start to the last byte. */
  readonly timeoutMs: number
  readonly maxConnections: number
  readonly userAgent: string
}

export interface TomTomDeps {
  /** The key in force at the moment of a call. */
  readonly apiKey: () => string
  readonly observer: Pick<Observer, 'upstreamAnswered'>
  readonly clock: Clock
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
/** Longest handshake. */
const CONNECT_TIMEOUT_MS = 2_000
/** Connections are replaced after this, so that changes in DNS take effect. */
const CONNECTION_TTL_MS = 300_000
/** Longest wait for the body of a rejection. Calls for other stations continue until then, so it is short. */
const ERROR_BODY_TIMEOUT_MS = 250
/** A shorter key could be part of a normal answer. */
const MIN_KEY_LENGTH_TO_DETECT = 8

/**
 * TomTom's endpoint as a Source: one GET for the unfiltered JSON answer of one station, which takes nothing from the
 * client's request. TLS is verified and redirects are not followed; both are defaults of undici, and tests check them.
 */
export function createTomTom(options: TomTomOptions, deps: TomTomDeps): TomTom {
  const { observer, clock } = deps
  const pools: Pool[] = []
  const createPool = (settings: Pool.Options) => {
    const pool = new Pool(options.origin, settings)
    pools.push(pool)
    return trackSent(pool)
  }
  const settings = {
    connections: options.maxConnections,
    connect: { timeout: Math.min(options.timeoutMs, CONNECT_TIMEOUT_MS) },
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    maxResponseSize: MAX_BODY_BYTES,
    clientTtl: CONNECTION_TTL_MS,
  }
  let freshPool: Dispatcher | null = null
  const fresh = () => (freshPool ??= createPool({ ...settings, pipelining: 0 }))
  const connections = createConnections(createPool(settings), fresh, clock)
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
        deps,
      )
      observer.upstreamAnswered(availability.connectors.length === 0 ? 'empty' : 'ok', seconds())
      return availability
    } catch (thrown) {
      if (isDefect(thrown)) throw thrown
      const error = upstreamErrorOf(thrown)
      if (error.isTransient && error.outcome === 'network') connections.broke()
      observer.upstreamAnswered(error.outcome, seconds())
      throw error
    } finally {
      inFlight--
    }
  }
  return {
    source,
    inFlight: () => inFlight,
    close: async () => void (await Promise.all(pools.map((pool) => pool.destroy()))),
  }
}

async function requestAvailability(
  dispatcher: Dispatcher,
  id: string,
  { timeoutMs, userAgent }: Pick<TomTomOptions, 'timeoutMs' | 'userAgent'>,
  deps: TomTomDeps,
): Promise<Availability> {
  const key = deps.apiKey()
  const request = {
    method: 'GET' as const,
    path: `${PATH}?key=${encodeURIComponent(key)}&chargingAvailability=${encodeURIComponent(id)}`,
    headers: {
      accept: 'application/json',
      'accept-encoding': 'gzip',
      'user-agent': userAgent,
      'tracking-id': randomUUID(),
    },
  }
  const response = await sendRequest(dispatcher, request, timeoutMs)
  if (response.statusCode !== 200) throw await errorOf(response, deps.clock)
  const text = await readText(response)
  const availability = decodeAvailability(text, id)
  if (key.length >= MIN_KEY_LENGTH_TO_DETECT && containsKey(availability, key)) {
    throw new UpstreamError('invalid', { reason: 'not an answer: the body repeats the key' })
  }
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

/** Whether the answer contains the key, literally or percent-encoded, with any JSON escapes. */
function containsKey(availability: Availability, key: string): boolean {
  const text = JSON.stringify(availability)
  return (text.includes('%') ? decodePercent(text) : text).includes(inJson(key))
}

function decodePercent(text: string): string {
  return text.replace(/%[0-9a-f]{2}/gi, (escape) =>
    inJson(String.fromCharCode(Number.parseInt(escape.slice(1), 16))),
  )
}

/** The text as it appears within a JSON string. */
function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}
