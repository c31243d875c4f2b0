import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Extension } from '../lib/static-page.ts'
import { MIME_TYPES } from '../lib/static-page.ts'

/** A file's bytes in one content coding. */
export interface EncodedFile {
  readonly body: Buffer
  /** Strong, quotes included; differs per content coding. */
  readonly etag: string
}

/** A file of the API reference. */
export interface DocsFile {
  readonly path: string
  readonly type: string
  /** Read on the first request and kept compressed. */
  readonly read: (coding: 'gzip' | 'identity') => Promise<EncodedFile>
}

const DIRECTORY = new URL('./docs/', import.meta.url)
const compress = promisify<Buffer, { level: number }, Buffer>(gzip)
const decompress = promisify<Buffer, Buffer>(gunzip)

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
  let compressed: Promise<EncodedFile> | null = null
  return {
    path,
    type: MIME_TYPES[extension],
    async read(coding) {
      compressed ??= readCompressed(location()).catch((error: unknown) => {
        compressed = null // the next request tries again
        throw error
      })
      const { body, etag } = await compressed
      if (coding === 'gzip') return { body, etag: `${etag.slice(0, -1)}-gzip"` }
      return { body: await decompress(body), etag }
    },
  }
}

/** The compressed file, with the entity tag of the uncompressed one. */
async function readCompressed(location: string | URL): Promise<EncodedFile> {
  const plain = await readFile(location)
  const hash = createHash('sha256').update(plain).digest('base64url').slice(0, 22)
  return { body: await compress(plain, { level: 9 }), etag: `"${hash}"` }
}
