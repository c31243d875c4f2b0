import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { Extension } from '../lib/static-page.ts'
import { MIME_TYPES } from '../lib/static-page.ts'

/** A file's bytes in one content coding. */
export interface EncodedFile {
  readonly body: Buffer
  /** Strong, quotes included; differs per content coding. */
  readonly etag: string
}

export type Coding = 'gzip' | 'identity'

/** A file in both codings, each made once and shared by all responses: per request it would be memory and CPU. */
export interface SharedFile {
  readonly type: string
  /** Made on the first request and kept. */
  readonly read: (coding: Coding) => Promise<EncodedFile>
}

/** A file of the API reference. */
export interface DocsFile extends SharedFile {
  readonly path: string
}

const DIRECTORY = new URL('./docs/', import.meta.url)
const compress = promisify<Buffer, { level: number }, Buffer>(gzip)

/** All files of the page, each with its own path: no directory is served. */
export const DOCS_FILES: readonly DocsFile[] = [
  file('/docs', 'html', () => new URL('index.html', DIRECTORY)),
  file('/docs/docs.css', 'css', () => new URL('docs.css', DIRECTORY)),
  file('/docs/docs.js', 'js', () => new URL('docs.js', DIRECTORY)),
  file('/docs/icon.svg', 'svg', () => new URL('icon.svg', DIRECTORY)),
  file('/docs/swagger-ui.css', 'css', () => swaggerUi('swagger-ui.css')),
  file('/docs/swagger-ui-bundle.js', 'js', () => swaggerUi('swagger-ui-bundle.js')),
]

/** The build copies Swagger UI into the directory; without a build its package is used. */
function swaggerUi(name: string): string | URL {
  const built = new URL(name, DIRECTORY)
  return existsSync(built) ? built : createRequire(import.meta.url).resolve(`swagger-ui-dist/${name}`)
}

function file(path: string, extension: Extension, location: () => string | URL): DocsFile {
  return { path, ...sharedFile(MIME_TYPES[extension], () => readFile(location())) }
}

export function sharedFile(type: string, load: () => Promise<Buffer>): SharedFile {
  let encoded: Promise<Record<Coding, EncodedFile>> | null = null
  return {
    type,
    async read(coding) {
      encoded ??= encode(load).catch((error: unknown) => {
        encoded = null // the next request tries again
        throw error
      })
      return (await encoded)[coding]
    },
  }
}

async function encode(load: () => Promise<Buffer>): Promise<Record<Coding, EncodedFile>> {
  const body = await load()
  const hash = createHash('sha256').update(body).digest('base64url').slice(0, 22)
  const compressed = await compress(body, { level: 9 })
  return {
    identity: { body, etag: `"${hash}"` },
    gzip: { body: compressed, etag: `"${hash}-gzip"` },
  }
}
