import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Deviation, Deviations } from './deviations.ts'
import { NO_DEVIATIONS } from './deviations.ts'
import type { Filter } from './filter.ts'
import type { Format } from './model.ts'
import { CONNECTOR_TYPES } from './stations.ts'

/** A request as received, split but not validated. The path is not decoded. */
export interface Call {
  readonly method: string
  readonly path: string
  readonly parameters: URLSearchParams
  readonly headers: IncomingHttpHeaders
  /** How its response differs from the endpoint's. */
  readonly deviations: Deviations
}

/** A valid request for the availability of a station. */
export interface AvailabilityRequest {
  readonly id: string
  readonly format: Format
  readonly filter: Filter
}

/** An error of the endpoint; those of the gateway have other shapes. */
export class EndpointError extends Error {
  readonly status: number
  readonly code: string
  /** The longer message in `detailedError`. */
  readonly detail: string

  constructor(status: number, code: string, message: string, detail = `${message}.`) {
    super(message)
    this.name = 'EndpointError'
    this.status = status
    this.code = code
    this.detail = detail
  }
}

const ENDPOINT = /^\/search\/2\/chargingAvailability\.([^/]*)$/
const DECIMAL = /^(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
const TYPE_NAME = /^[A-Za-z0-9]{1,64}$/

export function parseCall({ method = 'GET', url = '/', headers }: IncomingMessage): Call {
  const mark = url.indexOf('?')
  const path = mark < 0 ? url : url.slice(0, mark)
  const parameters = new URLSearchParams(url.slice(path.length))
  return { method, path, parameters, headers, deviations: NO_DEVIATIONS }
}

/** The format of the endpoint's errors for this path. */
export function errorFormat({ path }: Call): Format {
  return path.endsWith('.xml') ? 'xml' : 'json'
}

/**
 * Validates a call.
 * @throws EndpointError 404, 405 or 400, checked in this order
 */
export function parseRequest({ method, path, parameters, deviations }: Call): AvailabilityRequest {
  const ext = ENDPOINT.exec(path)?.[1]
  if (ext === undefined) throw new EndpointError(404, 'NotFound', 'Resource not found')
  const isAllowed = method === 'GET' || deviations.has(method.toLowerCase() as Deviation)
  if (!isAllowed) throw new EndpointError(405, 'MethodNotAllowed', 'Method not allowed')
  const isFormat = ext === 'json' || ext === 'xml'
  if (!isFormat && !deviations.has('any-ext')) throw invalid('ext', 'expected json or xml')
  const format = isFormat ? ext : 'json'
  return { id: parseId(parameters, deviations), format, filter: parseFilter(parameters, deviations) }
}

function parseId(parameters: URLSearchParams, deviations: Deviations): string {
  const id = single(parameters, 'chargingAvailability')
  if (id !== null && id !== '') return id
  if (deviations.has('missing-id')) return ''
  const named = "parameter 'chargingAvailability'"
  throw new EndpointError(400, 'MissingParameter', `Missing ${named}`, `Missing required ${named}.`)
}

function parseFilter(parameters: URLSearchParams, deviations: Deviations): Filter {
  const minPowerKW = parsePower(parameters, 'minPowerKW', deviations)
  const maxPowerKW = parsePower(parameters, 'maxPowerKW', deviations)
  const isReversed = minPowerKW !== null && maxPowerKW !== null && minPowerKW > maxPowerKW
  if (isReversed && !deviations.has('power-min-over-max')) {
    throw invalid('minPowerKW', 'expected at most maxPowerKW')
  }
  return { types: parseTypes(parameters, deviations), minPowerKW, maxPowerKW }
}

function isDocumented(type: string): boolean {
  return Object.hasOwn(CONNECTOR_TYPES, type)
}

/** The union of all `connectorSet` parameters, each a comma-separated list; null if they have no names. */
function parseTypes(parameters: URLSearchParams, deviations: Deviations): Set<string> | null {
  const lists = parameters.getAll('connectorSet')
  const names = (deviations.has('connector-set-first') ? lists.slice(0, 1) : lists)
    .flatMap((list) => list.split(','))
    .filter((name) => name !== '')
  if (!names.every((name) => TYPE_NAME.test(name))) throw invalid('connectorSet', 'expected connector types')
  if (deviations.has('connector-set-checked') && !names.every(isDocumented)) {
    throw invalid('connectorSet', 'expected connector types')
  }
  return names.length === 0 ? null : new Set(names)
}

function parsePower(parameters: URLSearchParams, name: string, deviations: Deviations): number | null {
  const text = deviations.has('power-twice') ? parameters.get(name) : single(parameters, name)
  if (text === null) return null
  if (deviations.has('power-negative') && text.startsWith('-')) return 0
  if (deviations.has('power-text') && Number.isNaN(Number(text))) return null
  const power = DECIMAL.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(power)) throw invalid(name, 'expected a decimal number of kW')
  return power
}

function single(parameters: URLSearchParams, name: string): string | null {
  const [value = null, ...more] = parameters.getAll(name)
  if (more.length > 0) throw invalid(name, 'expected it once')
  return value
}

function invalid(name: string, expected: string): EndpointError {
  const message = `Invalid parameter '${name}'`
  return new EndpointError(400, 'InvalidParameter', message, `${message}: ${expected}.`)
}
