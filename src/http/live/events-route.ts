import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseListQuery } from '../../availability/query.ts'
import { invalidParameter, ServiceError } from '../../errors.ts'
import type { Observer } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import { hasLeft } from '../../lib/connection.ts'
import { closeOnEndOfInput } from '../../lib/held-responses.ts'
import { Turns } from '../../lib/turns.ts'
import type { Watchers } from '../../watch/watchers.ts'
import type { Admit, ClientNames } from '../admission.ts'
import { ClientDisconnectedError } from '../client-disconnect.ts'
import type { CorsOrigins } from '../cors.ts'
import { corsFields } from '../cors.ts'
import { EVENTS_PATH, isEventsPath } from '../paths.ts'
import type { RawQuery } from '../request-context.ts'
import { initRequest } from '../request-context.ts'
import type { LogRequest } from '../request-log.ts'
import { validateRequest } from '../validate-request.ts'
import { EventStream, knownTags } from './event-stream.ts'
import { admissionCheck, createClientKey } from './stream-client.ts'
import type { Streams } from './streams.ts'

/** What is needed for live updates. */
export interface Live {
  readonly streams: Streams
  /** Null while CACHE_TTL is 0: nothing is stored that could be watched. */
  readonly watchers: () => Watchers | null
}

export interface EventsOptions {
  readonly corsOrigins: CorsOrigins
  readonly isDraining: () => boolean
}

export interface EventsDeps extends Live {
  readonly admit: Admit | null
  readonly clients: ClientNames | null
  readonly logRequest: LogRequest
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly observer: Pick<Observer, 'streamOpened' | 'streamClosed' | 'eventSent'>
}

/** Stations of one stream. */
const MAX_STATIONS = 100
/** Of the header and the parameter: 100 tags and a version. */
const MAX_EVENT_ID_LENGTH = 1_000

/** Registers `GET /events`: the answers of up to 100 stations as server-sent events. */
export function eventsRoute(app: FastifyInstance, options: EventsOptions, deps: EventsDeps): void {
  const { admit, logRequest, streams } = deps
  const clientOf = createClientKey(admit)
  const turns = new Turns()
  const corsFor = corsFields(options.corsOrigins)

  app.route<RawQuery>({
    method: ['GET', 'HEAD'],
    url: EVENTS_PATH,
    handler: async (request, reply) => {
      initRequest(request)
      validateRequest(request.raw, reply.raw)
      if (!isEventsPath(request.url)) throw new ServiceError('NotFound') // another spelling
      admit?.(request)
      const { raw } = request.query
      const { ids, filter } = parseListQuery(raw, MAX_STATIONS)
      const client = await clientOf(request)
      const watchers = deps.watchers()
      if (watchers === null)
        throw invalidParameter('chargingAvailability', 'cannot be watched with CACHE_TTL=0')
      if (hasLeft(reply.raw)) throw new ClientDisconnectedError()
      if (request.method === 'GET') streams.checkRoomFor(client)
      const fields = headFields(request, corsFor(request.headers.origin))
      if (options.isDraining()) fields.push('connection', 'close')
      const response = reply.hijack().raw
      response.writeHead(200, fields)
      logRequest(request, reply)
      if (request.method === 'HEAD') {
        response.end()
        return
      }
      const { trackingId } = request
      const known = knownTags(lastEventId(request))
      const settings = { trackingId, ids, filter, known, random: Math.random() }
      const stream = new EventStream(response, settings, { ...deps, watchers, turns })
      open(stream, request, { ...deps, client })
      closeOnEndOfInput(response)
    },
  })
}

function open(
  stream: EventStream,
  request: FastifyRequest<RawQuery>,
  { streams, clients, observer, client }: EventsDeps & { readonly client: string },
): void {
  observer.streamOpened(request.trackingId, stream.stations)
  const isAdmitted = admissionCheck(request, clients)
  stream.start(streams.add({ kind: 'stream', client, isAdmitted, end: stream.end }))
  if (streams.isDraining) stream.end('draining')
}

function headFields(request: FastifyRequest, cors: readonly string[]): string[] {
  const fields = ['content-type', 'text/event-stream', 'cache-control', 'no-store, no-transform']
  fields.push('x-accel-buffering', 'no', 'tracking-id', request.trackingId)
  fields.push('x-content-type-options', 'nosniff', ...cors)
  return fields
}

function lastEventId({ headers, query }: FastifyRequest<RawQuery>): string | undefined {
  const { 'last-event-id': header } = headers
  const value = header ?? new URLSearchParams(`&${query.raw}`).get('last_event_id') ?? undefined
  return typeof value === 'string' && value.length <= MAX_EVENT_ID_LENGTH ? value : undefined
}
