import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { matchesEtag } from './etag.ts'
import { wantsGzip } from './content-coding.ts'
import type { DocsFile } from './docs-files.ts'
import { DOCS_FILES } from './docs-files.ts'
import { pathOf } from './request-target.ts'
import { selfOnlyCsp } from '../lib/static-page.ts'

/** The renderer's icons are `data:` images in its style sheet; "try it" asks this origin and no other. */
export const DOCS_SECURITY_POLICY = selfOnlyCsp({ images: "'self' data:" })

const HEADERS = {
  'content-security-policy': DOCS_SECURITY_POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache', // kept by browsers, and asked for again: 304
}

const PATHS = new Set(DOCS_FILES.map(({ path }) => path))
/** Whatever its size, a file is at hand in either coding. */
const LARGE = Number.POSITIVE_INFINITY

/** Whether a target names the API reference or one of its files. */
export function isDocsPath(target: string): boolean {
  return PATHS.has(pathOf(target))
}

/** The API reference: a page that draws openapi.yaml, from files that are read when they are asked for first. */
export function docsRoutes(app: FastifyInstance): void {
  for (const file of DOCS_FILES) {
    app.get(file.path, async (request, reply) => sendFile(request, reply, file))
  }
}

async function sendFile({ headers }: FastifyRequest, reply: FastifyReply, { type, read }: DocsFile) {
  const coding = wantsGzip(headers['accept-encoding'], LARGE) ? 'gzip' : 'identity'
  const { body, etag } = await read(coding)
  reply.headers({ ...HEADERS, etag })
  if (matchesEtag(headers['if-none-match'], etag)) return reply.code(304).send()
  if (coding === 'gzip') reply.header('content-encoding', 'gzip')
  return reply.type(type).send(body)
}
