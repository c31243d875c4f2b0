import { isIP } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import { ServiceError } from '../errors.ts'
import type { Observer } from '../events.ts'
import { initRequest } from './request-context.ts'
import type { ClientNames } from './client-key.ts'
import { clientOf } from './client-key.ts'
import { MAX_WINDOWS, createFixedWindowStore } from './fixed-window-store.ts'
import { validateRequest } from './validate-request.ts'

export interface AdmissionOptions {
  /** Requests of one client within a second, which begins with the first of them; 0 is no limit. */
  readonly perSecond: number
  /** Requests of one client that may wait for upstream at once; 0 is no limit. */
  readonly maxInFlight: number
}

export interface AdmissionDeps {
  /** Null: whoever asks is answered, and told from others by address. */
  readonly clients: ClientNames | null
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<Observer, 'clientIdentified' | 'clientLimited'>
}

const WINDOW_MS = 1_000

/**
 * Hooks for a scope's routes: who asks must have a key, and keep to a limit. The key comes first, so that a stranger
 * learns nothing, not even which parameters are right. Without keys and limits there is no hook and no cost.
 */
export async function registerAdmission(
  scope: FastifyInstance,
  { perSecond, maxInFlight }: AdmissionOptions,
  { clients, clock, observer }: AdmissionDeps,
): Promise<void> {
  if (clients === null && perSecond === 0 && maxInFlight === 0) return
  const { default: rateLimit, normalizeIP } = await import('@fastify/rate-limit')

  // Half a hit's time for an IPv6 address, and clients send more than one request.
  const clientByAddress = new LRUCache<string, string>({ max: MAX_WINDOWS })

  scope.addHook<{ Querystring: { raw: string } }>('onRequest', (request, reply, done) => {
    initRequest(request)
    validateRequest(request.raw, reply.raw)
    if (clients === null) {
      const address = addressOf(request)
      let client = clientByAddress.get(address)
      if (client === undefined) clientByAddress.set(address, (client = normalizeIP(address)))
      request.limitedAs = client
    } else {
      request.limitedAs = request.client = identify(request.query.raw)
    }
    done()
  })

  const identify = (raw: string): string => {
    let name: string | null = null
    try {
      return (name = clientOf(raw, clients as ClientNames))
    } finally {
      observer.clientIdentified(name)
    }
  }

  if (perSecond === 0) return
  await scope.register(rateLimit, {
    max: perSecond,
    timeWindow: WINDOW_MS,
    store: createFixedWindowStore(clock),
    keyGenerator: (request) => request.limitedAs,
    errorResponseBuilder: (_request, { ttl }) => {
      observer.clientLimited('rate')
      return new ServiceError('TooManyRequests', {
        reason: 'the client asks too often',
        retryAfterMs: ttl,
      })
    },
    addHeaders: NO_HEADERS,
    addHeadersOnExceeding: NO_HEADERS,
  })
}

/** An answer has the headers of its contract and no other. */
const NO_HEADERS = {
  'x-ratelimit-limit': false,
  'x-ratelimit-remaining': false,
  'x-ratelimit-reset': false,
  'retry-after': false,
}

/** The client's address; that of the connection where a trusted proxy has passed on what is none. */
function addressOf({ ip, socket }: FastifyRequest): string {
  return isIP(ip) === 0 ? (socket.remoteAddress ?? '') : ip
}
