import type { IncomingHttpHeaders } from 'node:http'
import { request as httpRequest } from 'node:http'
import { gunzipSync } from 'node:zlib'

export interface RequestOptions {
  readonly method?: string
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
  readonly signal?: AbortSignal
}

/** An answer as it was on the wire: nothing decoded, nothing followed, nothing cached. */
export interface WireResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  /** The body as text, decompressed if it says that it is compressed. */
  readonly text: string
}

/** One request on a connection of its own; `path` goes out exactly as written. */
export function request(base: string, path: string, options: RequestOptions = {}): Promise<WireResponse> {
  const { hostname: host, port } = new URL(base)
  const { method = 'GET', headers = {}, body, signal } = options
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      host,
      port,
      path,
      method,
      headers,
      agent: false,
      ...(signal && { signal }),
    })
    // Node frames the body of a DELETE only if told to.
    if (body !== undefined && !('transfer-encoding' in headers)) {
      outgoing.setHeader('content-length', Buffer.byteLength(body))
    }
    outgoing.on('error', reject)
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('error', reject)
      incoming.on('end', () => {
        const bytes = Buffer.concat(chunks)
        const gzipped = incoming.headers['content-encoding'] === 'gzip'
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          rawHeaders: incoming.rawHeaders,
          body: bytes,
          text: (gzipped ? gunzipSync(bytes) : bytes).toString('utf8'),
        })
      })
    })
    outgoing.end(body)
  })
}

/** The mirrored route's path for a query. */
export function pathFor(query: string, ext = 'json'): string {
  return `/search/2/chargingAvailability.${ext}?${query}`
}

/** Everything of an answer in one text, for finding what must not be in it. */
export function fullText({ status, rawHeaders, text }: WireResponse): string {
  return [status, ...rawHeaders, text].join('\n')
}
