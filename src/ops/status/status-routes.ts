import type { FastifyInstance, FastifyReply } from 'fastify'
import { asServiceError } from '../../errors.ts'
import { selfOnlyCsp } from '../../lib/static-page.ts'
import { readCursor } from './cursor.ts'
import { PAGE_FILES } from './page-files.ts'
import type { Status } from './status.ts'

/** An answer of the cache, as the page's look-up box shows it. */
export interface InspectedStation {
  /** The unfiltered answer as JSON. */
  readonly json: string
  /** Since upstream answered. */
  readonly ageMs: number
  /** What is left of the fresh time; negative for an old answer. */
  readonly ttlMs: number
}

/** The look-up box's way to the stations. */
export interface StationInspector {
  /** What is held; null if nothing is. Costs no call, counts as no lookup and keeps nothing in use. */
  peek(id: string): InspectedStation | null
  /**
   * What a client would get, at the price that a client would cost.
   * @throws ServiceError, as a rejection
   */
  ask(id: string): Promise<InspectedStation>
}

export interface StatusRouteDeps {
  readonly status: Status
  readonly inspector: StationInspector
  /** Takes secrets out of a text, whatever it was made of. */
  readonly redact: (text: string) => string
}

export const CONTENT_SECURITY_POLICY = selfOnlyCsp({ images: "'self'" })

const HEADERS = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
}

/** The status page, its data, and what its search boxes ask. */
export function statusRoutes(
  app: FastifyInstance,
  { status, inspector: stations, redact }: StatusRouteDeps,
): void {
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
    const held = stations.peek(parameter(request.query, 'id') ?? '')
    return send(reply, { answer: held === null ? null : shown(held), error: null })
  })

  // It may spend a call, so it is a POST of JSON: no page of another origin can send that without being allowed to.
  app.post('/status/station', async (request, reply) => {
    const id = parameter(request.body, 'id')
    if (id === undefined) return reply.code(400).send({ status: 'expected a JSON body with the string id' })
    return send(reply, await asked(stations, id))
  })
}

async function asked(stations: StationInspector, id: string) {
  try {
    return { answer: shown(await stations.ask(id)), error: null }
  } catch (thrown) {
    const { code, status, reason, detail } = asServiceError(thrown)
    return { answer: null, error: { code, status, reason: reason ?? detail } }
  }
}

function shown({ json, ageMs, ttlMs }: InspectedStation) {
  return { ageMs, ttlMs, availability: JSON.parse(json) as unknown }
}

/** A text parameter given once; undefined for everything else. */
function parameter(holder: unknown, name: string): string | undefined {
  const value = (holder as Readonly<Record<string, unknown>> | null | undefined)?.[name]
  return typeof value === 'string' ? value : undefined
}
