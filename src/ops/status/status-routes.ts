import type { FastifyInstance, FastifyReply } from 'fastify'
import { asServiceError, malformedRequest, missingParameter, ServiceError } from '../../errors.ts'
import { selfOnlyCsp } from '../../lib/static-page.ts'
import { readCursor } from './cursor.ts'
import { PAGE_FILES } from './page-files.ts'
import type { Status } from './status.ts'

/** A cached answer, as the status page shows it. */
export interface InspectedStation {
  /** The unfiltered answer as JSON. */
  readonly json: string
  /** Time since upstream answered. */
  readonly ageMs: number
  /** Remaining TTL; negative for a stale answer. */
  readonly ttlMs: number
}

/** Access to single stations for the status page. */
export interface StationInspector {
  /** The cached answer or null. Makes no call, is not counted, and does not protect the entry from eviction. */
  peek(id: string): InspectedStation | null
  /**
   * The answer a client would get. It may call upstream and is counted like a client's lookup.
   * @throws ServiceError, as a rejection
   */
  ask(id: string): Promise<InspectedStation>
  /** Drops what is cached for a station, in the shared cache as well: now, or as soon as that can be reached. */
  purge(id: string): Promise<void>
  purgeAll(): Promise<void>
}

export interface StatusRouteDeps {
  readonly status: Status
  readonly inspector: StationInspector
  /** Replaces secrets in a text. */
  readonly redact: (text: string) => string
}

export const CONTENT_SECURITY_POLICY = selfOnlyCsp({ images: "'self'" })

const CROSS_SITE = { message: 'Pages of other sites may not purge.' }

const HEADERS = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
}

/** The status page, its data, and the search for requests and stations. */
export function statusRoutes(app: FastifyInstance, { status, inspector, redact }: StatusRouteDeps): void {
  const send = (reply: FastifyReply, body: unknown) =>
    reply
      .headers({ ...HEADERS, 'cache-control': 'no-store' })
      .type('application/json; charset=utf-8')
      .send(redact(JSON.stringify(body)))

  for (const { path, type, read } of PAGE_FILES) {
    app.get(path, async (_request, reply) =>
      reply
        .headers({ ...HEADERS, 'cache-control': 'no-cache' })
        .type(type)
        .send(read()),
    )
  }

  app.get('/status', async (request, reply) =>
    send(reply, status.report(readCursor(parameter(request.query, 'since')))),
  )

  app.get('/status/requests', async (request, reply) =>
    send(reply, { requests: status.find(parameter(request.query, 'trackingId') ?? '') }),
  )

  app.get('/status/station', async (request, reply) => {
    const cached = inspector.peek(parameter(request.query, 'id') ?? '')
    return send(reply, { answer: cached && answerOf(cached), error: null })
  })

  // It may spend a call, so it is a POST of JSON: a browser sends that across origins only after a preflight, which fails.
  app.post('/status/station', async (request, reply) => {
    const id = parameter(request.body, 'id')
    if (id === undefined) throw malformedRequest('The body must be a JSON object with the string id')
    return send(reply, await answerOrError(inspector, id))
  })

  purgeRoutes(app, inspector)
}

/** A browser sends DELETE across origins only after a preflight, which fails; the header is a second line of defence. */
function purgeRoutes(app: FastifyInstance, inspector: StationInspector): void {
  const purge = (path: string, run: (query: unknown) => Promise<void>) =>
    app.delete(path, async ({ headers, query }, reply) => {
      if (headers['sec-fetch-site'] === 'cross-site') throw new ServiceError('Forbidden', CROSS_SITE)
      await run(query)
      return reply.code(204).send()
    })

  purge('/status/stations', () => inspector.purgeAll())
  purge('/status/station', (query) => {
    const id = parameter(query, 'id')
    if (id === undefined || id === '') throw missingParameter('id')
    return inspector.purge(id)
  })
}

async function answerOrError(inspector: StationInspector, id: string) {
  try {
    return { answer: answerOf(await inspector.ask(id)), error: null }
  } catch (thrown) {
    const { code, status, reason, detail } = asServiceError(thrown)
    return { answer: null, error: { code, status, reason: reason ?? detail } }
  }
}

function answerOf({ json, ageMs, ttlMs }: InspectedStation) {
  return { ageMs, ttlMs, availability: JSON.parse(json) as unknown }
}

/** The parameter if it is a string; undefined if it is absent, repeated or of another type. */
function parameter(parameters: unknown, name: string): string | undefined {
  const value = (parameters as Readonly<Record<string, unknown>> | null | undefined)?.[name]
  return typeof value === 'string' ? value : undefined
}
