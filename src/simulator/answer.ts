import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import type { Call } from './request.ts'

/** A complete HTTP response, not yet encoded. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const TRACKING_ID = /^[a-zA-Z0-9-]{1,100}$/

/** The headers of every response: those of the gateway, of the endpoint and of faults. */
export function commonHeaders({ headers, deviations }: Call): Record<string, string> {
  const received = headers['tracking-id']
  const isGiven = typeof received === 'string' && !deviations.has('tracking-id-new')
  const isEchoed = isGiven && (TRACKING_ID.test(received) || deviations.has('tracking-id-any'))
  const trackingId = isEchoed ? received : randomUUID()
  return { Server: 'tomtom', 'Tracking-ID': trackingId, 'X-TomTom-Processed-By': 'simulator' }
}

/** Sends the response, compressed with gzip if the caller accepts it. */
export function send(call: Call, response: ServerResponse, { status, headers, body }: Answer): void {
  const mayCompress = body !== '' && !call.deviations.has('no-gzip')
  const compress = mayCompress && acceptsGzip(call.headers['accept-encoding'])
  const bytes = compress ? gzipSync(body) : Buffer.from(body)
  response.writeHead(status, {
    ...commonHeaders(call),
    ...headers,
    Vary: 'accept-encoding,origin',
    ...(compress && { 'Content-Encoding': 'gzip' }),
    ...(status !== 204 && { 'Content-Length': bytes.length }),
  })
  response.end(bytes)
}

/** `gzip` or `*` in the list, unless its weight is 0. */
function acceptsGzip(acceptEncoding = ''): boolean {
  const codings = acceptEncoding
    .toLowerCase()
    .split(',')
    .map((item) => item.split(';').map((part) => part.trim()))
  const [, ...parameters] = codings.find(([name]) => name === 'gzip') ??
    codings.find(([name]) => name === '*') ?? ['', 'q=0']
  return !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))
}
