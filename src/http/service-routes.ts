import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { shareBody } from '../lib/held-responses.ts'
import { selfOnlyCsp } from '../lib/static-page.ts'
import type { SharedFile } from './docs-files.ts'
import { DOCS_FILES, sharedFile } from './docs-files.ts'
import { pathOf } from './request-target.ts'
import { matchesEtag, wantsGzip } from './response-headers.ts'

export interface ServiceRoutesOptions {
  /** The text of openapi.yaml, served with the base path as its server. */
  readonly openapi: string
  /** Empty for none. */
  readonly basePath: string
  /** Whether the API reference is served at /docs. */
  readonly docs: boolean
}

const PATHS = new Set(['/healthz', '/openapi.yaml'])
const DOCS_PATHS = new Set(DOCS_FILES.map(({ path }) => path))

/** Whether a target names a route of this file. */
export function isServicePath(target: string, { docs }: Pick<ServiceRoutesOptions, 'docs'>): boolean {
  const path = pathOf(target)
  return PATHS.has(path) || (docs && DOCS_PATHS.has(path))
}

/** The routes of the public listener other than the proxied one. */
export function serviceRoutes(app: FastifyInstance, { openapi, docs, basePath }: ServiceRoutesOptions): void {
  const text = withServer(openapi, basePath)
  app.get('/healthz', { exposeHeadRoute: true }, async () => ({ status: 'ok' }))

  const document = sharedFile('application/yaml; charset=utf-8', async () => Buffer.from(text))
  app.get('/openapi.yaml', { exposeHeadRoute: true }, async (request, reply) =>
    sendFile(request, reply, document, { 'cache-control': 'no-cache' }),
  )

  if (!docs) return
  for (const file of DOCS_FILES) {
    app.get(file.path, { exposeHeadRoute: true }, async (request, reply) =>
      sendFile(request, reply, file, DOCS_HEADERS),
    )
  }
}

/** The entry of `servers`: `.` is relative to the document, so it is right behind an ingress that strips a prefix. */
const SERVER = /^( {2}- url:) \.$/m

function withServer(openapi: string, basePath: string): string {
  return basePath === '' ? openapi : openapi.replace(SERVER, `$1 ${basePath}`)
}

const DOCS_HEADERS = {
  // Swagger UI's icons are `data:` images in its style sheet; "Try it out" calls this origin only.
  'content-security-policy': selfOnlyCsp({ images: "'self' data:" }),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache', // stored by browsers and revalidated: 304
}

/** Files are available in both codings, whatever their size. */
const ANY_SIZE = Number.POSITIVE_INFINITY

async function sendFile(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  { type, read }: SharedFile,
  fields: Record<string, string>,
) {
  const coding = wantsGzip(headers['accept-encoding'], ANY_SIZE) ? 'gzip' : 'identity'
  const { body, etag } = await read(coding)
  reply.headers({ ...fields, etag })
  if (matchesEtag(headers['if-none-match'], etag)) return reply.code(304).send()
  if (coding === 'gzip') reply.header('content-encoding', 'gzip')
  shareBody(reply.raw, body.length)
  return reply.type(type).send(body)
}
