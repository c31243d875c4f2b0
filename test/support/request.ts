import type { IncomingHttpHeaders } from 'node:http'
import { request as httpRequest } from 'node:http'
import { gunzipSync } from 'node:zlib'

export interface RequestOptions {
  readonly method?: string
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
  readonly signal?: AbortSignal
}

/** A response as received: not decoded, no redirect followed, not cached. */
export interface WireResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  /** The body as text, decompressed if Content-Encoding is gzip. */
  readonly text: string
}

/** Sends one request on a new connection; `path` is sent exactly as written. */
export function request(base: string, path: string, options: RequestOptions = {}): Promise<WireResponse> {
  const { hostname, port } = new URL(base)
  const host = hostname.replace(/^\[|\]$/g, '') // an IPv6 address
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
    // Without a length Node sends the body of a DELETE unframed.
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
        const gzipped = incoming.headers['content-encoding'] === 'gzip' && bytes.length > 0
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

/** The path of the proxied route for a query. */
export function pathFor(query: string, ext = 'json'): string {
  return `/search/2/chargingAvailability.${ext}?${query}`
}

/** Status, headers and body as one text, to search for what must not be in it. */
export function fullText({ status, rawHeaders, text }: WireResponse): string {
  return [status, ...rawHeaders, text].join('\n')
}
