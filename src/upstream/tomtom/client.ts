import { randomUUID } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { Pool } from 'undici'
import { decodeAvailability } from '../../availability/decode.ts'
import type { Availability } from '../../availability/model.ts'
import type { Source } from '../../source.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Observer } from '../../events.ts'
import { MAX_BODY_BYTES, readText } from './body.ts'
import type { UpstreamResponse } from './send.ts'
import { sendRequest, trackSent } from './send.ts'
import { isDefect, outcomeOfStatus, rejectionKind, upstreamErrorOf } from './error.ts'
import { parseRetryAfter } from './retry-after.ts'
import { UpstreamError } from '../outcomes.ts'

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
  /** Attempts under way. */
  readonly inFlight: () => number
  /** Ends every connection, those in use too. */
  readonly close: () => Promise<void>
}

/** The endpoint's path; nothing of a client's request ever becomes part of it. */
const PATH = '/search/2/chargingAvailability.json'
/** A handshake that takes longer is not worth waiting for. */
const CONNECT_TIMEOUT_MS = 2_000
/** Connections are renewed after this, so that a change in DNS is followed. */
const CONNECTION_TTL_MS = 300_000
/** So long the body of a refusal is waited for; until it is there, calls for other stations would go on. */
const EXPLANATION_MS = 250
/** A shorter key could be part of an honest answer. */
const RECOGNISABLE_KEY_LENGTH = 8

/**
 * TomTom's endpoint as a Source: one GET, built from scratch, for the unfiltered JSON answer of one station.
 * TLS is verified and redirects are not followed; both are undici's defaults, and tests hold them.
 */
export function createTomTom(options: TomTomOptions, parts: TomTomDeps): TomTom {
  const { observer, clock } = parts
  const pool = new Pool(options.origin, {
    connections: options.maxConnections,
    connect: { timeout: Math.min(options.timeoutMs, CONNECT_TIMEOUT_MS) },
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    maxResponseSize: MAX_BODY_BYTES,
    clientTtl: CONNECTION_TTL_MS,
  })
  const dispatcher = trackSent(pool)
  let inFlight = 0

  const source: Source = async (id, call) => {
    const startedAt = clock.now()
    const seconds = () => (clock.now() - startedAt) / 1000
    inFlight++
    try {
      const availability = await ask(dispatcher, id, { ...options, ...call }, parts)
      observer.upstreamAnswered(availability.connectors.length === 0 ? 'empty' : 'ok', seconds())
      return availability
    } catch (thrown) {
      if (isDefect(thrown)) throw thrown
      const error = upstreamErrorOf(thrown)
      observer.upstreamAnswered(error.outcome, seconds())
      throw error
    } finally {
      inFlight--
    }
  }
  return { source, inFlight: () => inFlight, close: () => pool.destroy() }
}

async function ask(
  dispatcher: Dispatcher,
  id: string,
  { timeoutMs, userAgent }: Pick<TomTomOptions, 'timeoutMs' | 'userAgent'>,
  parts: TomTomDeps,
): Promise<Availability> {
  const key = parts.apiKey()
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
  if (response.statusCode !== 200) throw await refusal(response, parts.clock)
  const text = await readText(response)
  const availability = decodeAvailability(text, id)
  if (key.length >= RECOGNISABLE_KEY_LENGTH && tells(availability, key)) {
    throw new UpstreamError('invalid', { reason: 'not an answer: the body repeats the key' })
  }
  return availability
}

/** What a status other than 200 says. Bodies of errors come in many shapes; they are read, never passed on. */
async function refusal(response: UpstreamResponse, clock: Clock): Promise<UpstreamError> {
  const { statusCode, headers, body } = response
  const outcome = outcomeOfStatus(statusCode)
  const explains = outcome === 'refused' || outcome === 'throttled'
  const text = explains ? await explanation(response, clock) : ''
  if (!explains) void body.dump({ limit: MAX_BODY_BYTES }).catch(() => {})
  return new UpstreamError(outcome, {
    reason: `upstream answered ${statusCode}`,
    upstreamStatus: statusCode,
    retryAfterMs: parseRetryAfter(headers['retry-after']?.toString(), clock.wall()),
    rejection: rejectionKind(statusCode, text),
  })
}

/** The body of a refusal; empty if it does not come soon or cannot be read, for the status alone tells what counts. */
async function explanation(response: UpstreamResponse, clock: Clock): Promise<string> {
  const waitNoLonger = clock.after(EXPLANATION_MS, () => response.body.destroy())
  const text = await readText(response).catch(() => '')
  waitNoLonger()
  return text
}

/** Whether the key is in what would be passed on, as it is or percent-encoded, whatever escapes it came in. */
function tells(availability: Availability, key: string): boolean {
  const text = JSON.stringify(availability)
  return (text.includes('%') ? decodePercent(text) : text).includes(inJson(key))
}

function decodePercent(text: string): string {
  return text.replace(/%[0-9a-f]{2}/gi, (escape) =>
    inJson(String.fromCharCode(Number.parseInt(escape.slice(1), 16))),
  )
}

/** A text as it stands within JSON. */
function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}
