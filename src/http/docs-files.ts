import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Extension } from '../lib/static-page.ts'
import { MIME_TYPES } from '../lib/static-page.ts'

/** A file's bytes in one content coding. */
export interface Coded {
  readonly body: Buffer
  /** Strong, quotes included; differs per content coding. */
  readonly etag: string
}

/** A file of the API reference. */
export interface DocsFile {
  readonly path: string
  readonly type: string
  /** Read when it is asked for first, and kept compressed. */
  readonly read: (coding: 'gzip' | 'identity') => Promise<Coded>
}

const OWN = new URL('./docs/', import.meta.url)
const compress = promisify<Buffer, { level: number }, Buffer>(gzip)
const decompress = promisify<Buffer, Buffer>(gunzip)

/** All that the page consists of, each under a path of its own: no folder is served. */
export const DOCS_FILES: readonly DocsFile[] = [
  file('/docs', 'html', () => new URL('index.html', OWN)),
  file('/docs/docs.css', 'css', () => new URL('docs.css', OWN)),
  file('/docs/docs.js', 'js', () => new URL('docs.js', OWN)),
  file('/docs/icon.svg', 'svg', () => new URL('icon.svg', OWN)),
  file('/docs/swagger-ui.css', 'css', () => renderer('swagger-ui.css')),
  file('/docs/swagger-ui-bundle.js', 'js', () => renderer('swagger-ui-bundle.js')),
]

/** The build puts the renderer's files beside our own; where the sources run as they are, its package has them. */
function renderer(name: string): string | URL {
  const built = new URL(name, OWN)
  return existsSync(built) ? built : createRequire(import.meta.url).resolve(`swagger-ui-dist/${name}`)
}

function file(path: string, ending: Extension, where: () => string | URL): DocsFile {
  let compressed: Promise<Coded> | null = null
  return {
    path,
    type: MIME_TYPES[ending],
    async read(coding) {
      compressed ??= readCompressed(where()).catch((error: unknown) => {
        compressed = null // the next one tries again
        throw error
      })
      const { body, etag } = await compressed
      if (coding === 'gzip') return { body, etag: `${etag.slice(0, -1)}-gzip"` }
      return { body: await decompress(body), etag }
    },
  }
}

/** The file compressed, with the tag of the plain form. */
async function readCompressed(where: string | URL): Promise<Coded> {
  const plain = await readFile(where)
  const hash = createHash('sha256').update(plain).digest('base64url').slice(0, 22)
  return { body: await compress(plain, { level: 9 }), etag: `"${hash}"` }
}
