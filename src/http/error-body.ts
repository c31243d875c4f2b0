import type { Format } from '../availability/model.ts'
import { textElement } from '../availability/xml.ts'
import type { ServiceError } from '../errors.ts'
import { ALLOWED_METHODS } from './cors.ts'
import { pathOf } from './request-target.ts'

export const CONTENT_TYPE: Record<Format, string> = {
  json: 'application/json; charset=utf-8',
  xml: 'application/xml; charset=utf-8',
}

/** The format that a target's ending asks for; JSON where it asks for none. */
export function errorFormat(target: string): Format {
  return pathOf(target).endsWith('.xml') ? 'xml' : 'json'
}

/** An error's body in the shape that the endpoint's reference documents. It repeats nothing of the request. */
export function renderError(error: ServiceError, format: Format): string {
  const { code, message, detail, status } = error
  if (format === 'xml') {
    const detailed = `${sentence('code', code)}${sentence('message', detail)}`
    return `<ErrorEvResponse>${sentence('message', message)}<detailedError>${detailed}</detailedError></ErrorEvResponse>`
  }
  return JSON.stringify({ message, detailedError: { code, message: detail }, httpStatusCode: String(status) })
}

/** With apostrophes as the reference prints them: in a text XML asks for no other spelling. */
function sentence(name: string, text: string): string {
  return textElement(name, text).replaceAll('&apos;', "'")
}

/** Headers of an error's answer beside its type and those that every answer has. */
export function errorHeaders(error: ServiceError): Record<string, string> {
  const headers: Record<string, string> = { 'cache-control': 'no-store' }
  if (error.code === 'MethodNotAllowed') headers['allow'] = ALLOWED_METHODS
  if (error.retryAfterMs !== undefined) headers['retry-after'] = retryAfterSeconds(error.retryAfterMs)
  return headers
}

/** Whole seconds, rounded up and never 0: a client that honours a 0 hammers. */
function retryAfterSeconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1000)))
}
