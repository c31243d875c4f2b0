import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Filter } from './filter.ts'
import type { Format } from './model.ts'

/** What arrived, taken apart but not judged. The path is as it was sent. */
export interface Call {
  readonly method: string
  readonly path: string
  readonly parameters: URLSearchParams
  readonly headers: IncomingHttpHeaders
}

/** What a call asks the endpoint. */
export interface Question {
  readonly id: string
  readonly format: Format
  readonly filter: Filter
}

/** The endpoint's own no; the gateway before it has other shapes. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string
  /** What the message says, at more length. */
  readonly detail: string

  constructor(status: number, code: string, message: string, detail = `${message}.`) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.code = code
    this.detail = detail
  }
}

const ENDPOINT = /^\/search\/2\/chargingAvailability\.([^/]*)$/
const DECIMAL = /^(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
const TYPE_NAME = /^[A-Za-z0-9]{1,64}$/

export function callOf({ method = 'GET', url = '/', headers }: IncomingMessage): Call {
  const mark = url.indexOf('?')
  const path = mark < 0 ? url : url.slice(0, mark)
  return { method, path, parameters: new URLSearchParams(url.slice(path.length)), headers }
}

/** The format in which errors about this path are told. */
export function errorFormat({ path }: Call): Format {
  return path.endsWith('.xml') ? 'xml' : 'json'
}

/**
 * What the call asks.
 * @throws Refusal 404, 405 or 400, in that order of looking
 */
export function questionOf({ method, path, parameters }: Call): Question {
  const ext = ENDPOINT.exec(path)?.[1]
  if (ext === undefined) throw new Refusal(404, 'NotFound', 'Resource not found')
  if (method !== 'GET') throw new Refusal(405, 'MethodNotAllowed', 'Method not allowed')
  if (ext !== 'json' && ext !== 'xml') throw invalid('ext', 'expected json or xml')
  return { id: idOf(parameters), format: ext, filter: filterOf(parameters) }
}

function idOf(parameters: URLSearchParams): string {
  const id = single(parameters, 'chargingAvailability')
  if (id !== null && id !== '') return id
  const named = "parameter 'chargingAvailability'"
  throw new Refusal(400, 'MissingParameter', `Missing ${named}`, `Missing required ${named}.`)
}

function filterOf(parameters: URLSearchParams): Filter {
  const minPowerKW = powerOf(parameters, 'minPowerKW')
  const maxPowerKW = powerOf(parameters, 'maxPowerKW')
  if (minPowerKW !== null && maxPowerKW !== null && minPowerKW > maxPowerKW) {
    throw invalid('minPowerKW', 'expected at most maxPowerKW')
  }
  return { types: typesOf(parameters), minPowerKW, maxPowerKW }
}

/** The union of every `connectorSet`, each a list with commas; null when no name is in any. */
function typesOf(parameters: URLSearchParams): Set<string> | null {
  const names = parameters
    .getAll('connectorSet')
    .flatMap((list) => list.split(','))
    .filter((name) => name !== '')
  if (!names.every((name) => TYPE_NAME.test(name))) throw invalid('connectorSet', 'expected connector types')
  return names.length === 0 ? null : new Set(names)
}

function powerOf(parameters: URLSearchParams, name: string): number | null {
  const text = single(parameters, name)
  if (text === null) return null
  const power = DECIMAL.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(power)) throw invalid(name, 'expected a decimal number of kW')
  return power
}

function single(parameters: URLSearchParams, name: string): string | null {
  const [value = null, ...more] = parameters.getAll(name)
  if (more.length > 0) throw invalid(name, 'expected it once')
  return value
}

function invalid(name: string, expected: string): Refusal {
  const message = `Invalid parameter '${name}'`
  return new Refusal(400, 'InvalidParameter', message, `${message}: ${expected}.`)
}
