import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Format } from '../availability/model.ts'
import type { RequestResult } from '../events.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The client's own, if it has the documented form, else a new one; never that of another request. */
    trackingId: string
    /** The requested id, once it has passed validation. */
    station: string | null
    /** The metrics label of the proxied route's format; `none` on every other route. */
    format: Format | 'none'
    result: RequestResult
    /** Monotonic, in ms; 0 until `initRequest`. */
    startedAt: number
    /** The client's name, if clients have keys and this one was valid. */
    client: string | null
    /** The client's name or network, by which its requests are limited. */
    rateLimitKey: string
  }
}

/** Route generics: the query is passed on as text, because its rules are not those of the framework's parser. */
export interface RawQuery {
  Querystring: { raw: string }
}

/** Declares the fields above on the request's prototype, so that all requests have one hidden class. */
export function decorateRequests(app: FastifyInstance): void {
  app.decorateRequest('trackingId', '')
  app.decorateRequest('station', null)
  app.decorateRequest('format', 'none')
  app.decorateRequest('result', 'none')
  app.decorateRequest('startedAt', 0)
  app.decorateRequest('client', null)
  app.decorateRequest('rateLimitKey', '')
}

/** Sets what every response needs, an error response included. */
export function initRequest(request: FastifyRequest): void {
  request.startedAt = performance.now()
  request.trackingId = trackingIdOf(request.raw.headers['tracking-id'])
}

/** The pattern of the endpoint's reference. */
const TRACKING_ID = /^[a-zA-Z0-9-]{1,100}$/

/** The client's own Tracking-ID if it has the documented form, else a new one. */
export function trackingIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && TRACKING_ID.test(header) ? header : randomUUID()
}

/** https://www.w3.org/TR/trace-context/#traceparent-header: version, trace-id, parent-id, flags. */
const TRACEPARENT =
  /^(?!ff)(?<version>[0-9a-f]{2})-(?<traceId>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?<more>-.*)?$/

/**
 * The trace id of a `traceparent` header; null without a valid one. Versions after 00 may append fields to the known
 * ones; version 00 may not.
 */
export function traceIdOf(header: string | string[] | undefined): string | null {
  if (typeof header !== 'string') return null
  const { version, traceId, more } = TRACEPARENT.exec(header)?.groups ?? {}
  return traceId === undefined || (version === '00' && more !== undefined) ? null : traceId
}
