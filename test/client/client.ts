import createClient from 'openapi-fetch'
import type { operations, paths } from './api.d.ts'

/*
 * What a frontend writes: its types come from openapi.yaml (`npm run openapi:types`), its only setting is the base URL.
 * The compiler checks this file: every `@ts-expect-error` is a mistake that must be a type error.
 */

type Fetch = (request: Request) => Promise<Response>
export type Client = ReturnType<typeof clientFor>

export function clientFor(baseUrl: string, fetch?: Fetch) {
  return createClient<paths>({ baseUrl, ...(fetch && { fetch }) })
}

/** Without an annotation the library infers the query's type and accepts a misspelled optional name. */
type Query = operations['getChargingAvailability']['parameters']['query']

const ROUTE = '/search/2/chargingAvailability.{ext}'

/** The free points of these types at a station, or the error. */
export async function freePoints(client: Client, chargingAvailability: string, connectorSet: string[]) {
  const query: Query = { chargingAvailability, connectorSet, minPowerKW: 11 }
  const { data, error, response } = await client.GET(ROUTE, { params: { path: { ext: 'json' }, query } })
  if (error !== undefined) return { code: error.detailedError.code, status: response.status }
  const free: (number | undefined)[] = data.connectors.map(
    ({ availability }) => availability.current?.available,
  )
  return { free, trackingId: response.headers.get('tracking-id') }
}

/** A station as XML, which this client reads as text. */
export async function asXml(client: Client, chargingAvailability: string) {
  return client.GET(ROUTE, {
    params: { path: { ext: 'xml' }, query: { chargingAvailability } },
    parseAs: 'text',
  })
}

/** A conditional request. */
export async function revalidated(client: Client, chargingAvailability: string, etag: string) {
  const { response } = await client.GET(ROUTE, {
    params: {
      path: { ext: 'json' },
      query: { chargingAvailability },
      header: { 'If-None-Match': etag, 'Tracking-ID': 'client-1' },
    },
  })
  return response
}

/** A client that sends arrays separated by commas, as documented; the library's default is to repeat the name. */
export function withCommas(baseUrl: string, fetch?: Fetch): Client {
  const querySerializer = { array: { style: 'form', explode: false } } as const
  return createClient<paths>({ baseUrl, querySerializer, ...(fetch && { fetch }) })
}

/** Mistakes; never called. */
export async function mistakes({ GET, POST }: Client) {
  const path = { ext: 'json' } as const
  const query = { chargingAvailability: 'a' }
  // @ts-expect-error: no such parameter
  const slip: Query = { chargingAvailability: 'a', connectorset: ['b'] }
  await GET(ROUTE, { params: { path, query: slip } })
  // @ts-expect-error: the id is required
  await GET(ROUTE, { params: { path, query: { minPowerKW: 11 } } })
  // @ts-expect-error: a power is a number
  await GET(ROUTE, { params: { path, query: { chargingAvailability: 'a', minPowerKW: 'b' } } })
  // @ts-expect-error: no such format
  await GET(ROUTE, { params: { path: { ext: 'yaml' }, query } })
  // @ts-expect-error: no such path
  await GET('/search/3/chargingAvailability.{ext}', { params: { path, query } })
  // @ts-expect-error: no such method
  await POST(ROUTE, { params: { path, query } })
  const { data, error } = await GET(ROUTE, { params: { path, query } })
  // @ts-expect-error: one of the documented codes
  if (error?.detailedError.code === 'SlowDown') return
  // @ts-expect-error: it may be an error
  return data.connectors
}
