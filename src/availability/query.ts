import { invalidParameter, malformedRequest, missingParameter } from '../errors.ts'

/** A client's query: one station, and the filter for its answer. */
export interface Query extends Filter {
  /** The station's chargingAvailability id; the only cache key. */
  readonly id: string
}

export interface Filter {
  /** Connector types to keep, compared exactly; null keeps all. */
  readonly types: ReadonlySet<string> | null
  /** Closed interval in kW; null for no bound on that side. */
  readonly minPowerKW: number | null
  readonly maxPowerKW: number | null
}

type Parameter = 'chargingAvailability' | 'connectorSet' | 'minPowerKW' | 'maxPowerKW'

/** Maximum length of an id, in UTF-16 units. Real ids are UUIDs, 15-digit numbers and base64url of 22 characters. */
export const MAX_ID_LENGTH = 128
/** Maximum length of a connector type's name. */
export const MAX_TYPE_LENGTH = 64

const TYPE_NAME = new RegExp(`^[A-Za-z0-9]{1,${MAX_TYPE_LENGTH}}$`)
const CONTROL_CHARACTER = /\p{Cc}/u
/** No two quantifiers of one class are adjacent, so that matching is linear. */
const DECIMAL = /^(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/
const ENCODED = /[%+\u0080-\u00ff]/
const RAW_BYTE = /[\u0080-\u00ff]/g

/**
 * Parses a raw query string (no leading `?`). Unknown parameters, `key` among them, are ignored.
 * @example
 * parseQuery('chargingAvailability=a%20b&connectorSet=CCS,Type2&minPowerKW=22&key=x')
 * // { id: 'a b', types: new Set(['CCS', 'Type2']), minPowerKW: 22, maxPowerKW: null }
 * @throws ServiceError MissingParameter or InvalidParameter
 */
export function parseQuery(raw: string): Query {
  const parameters = decode(raw)
  const id = parseId(parameters.chargingAvailability, () => lookalikeIn(raw))
  return { id, ...parseFilter(parameters) }
}

/** A query for several stations with one filter. */
export interface ListQuery {
  /** Distinct, in the order of the query. */
  readonly ids: readonly string[]
  readonly filter: Filter
}

/**
 * Parses a query in which `chargingAvailability` is repeated, for at most `maxStations` distinct stations.
 * @throws ServiceError MissingParameter or InvalidParameter
 */
export function parseListQuery(raw: string, maxStations: number): ListQuery {
  const parameters = decode(raw)
  const { chargingAvailability: values } = parameters
  const lookalike = () => lookalikeIn(raw)
  const ids = new Set(
    values.length === 0 ? [parseId([], lookalike)] : values.map((value) => parseId([value], lookalike)),
  )
  if (ids.size > maxStations) {
    throw invalidParameter('chargingAvailability', `must be given for at most ${maxStations} stations`)
  }
  return { ids: [...ids], filter: parseFilter(parameters) }
}

function parseFilter(parameters: Record<Parameter, string[]>): Filter {
  const types = parseTypes(parameters.connectorSet)
  const minPowerKW = parsePower('minPowerKW', parameters.minPowerKW)
  const maxPowerKW = parsePower('maxPowerKW', parameters.maxPowerKW)
  if (minPowerKW !== null && maxPowerKW !== null && minPowerKW > maxPowerKW) {
    throw invalidParameter('minPowerKW', "must not be greater than 'maxPowerKW'")
  }
  return { types, minPowerKW, maxPowerKW }
}

/**
 * All values of the known parameters, in order. URLSearchParams never fails: it decodes bad percent-encoding as text and
 * bad UTF-8 as U+FFFD, so two ids could become one. It also takes three times as long.
 */
function decode(raw: string): Record<Parameter, string[]> {
  const values: Record<Parameter, string[]> = {
    chargingAvailability: [],
    connectorSet: [],
    minPowerKW: [],
    maxPowerKW: [],
  }
  for (const part of raw.split('&')) {
    const end = part.indexOf('=')
    const name = textOf(end === -1 ? part : part.slice(0, end))
    const value = end === -1 ? '' : textOf(part.slice(end + 1))
    if (Object.hasOwn(values, name)) values[name as Parameter].push(value)
  }
  return values
}

/** Names that clients confuse with `chargingAvailability`, from TomTom's documents and from POIs of its search. */
const LOOKALIKES: ReadonlySet<string> = new Set(['chargingAvailabilityId', 'chargingAvailability.id', 'id'])

/** The first parameter that was probably meant to be `chargingAvailability`. */
function lookalikeIn(raw: string): string | undefined {
  const names = raw.split('&').map((part) => textOf(part.split('=', 1)[0] as string))
  return names.find((name) => LOOKALIKES.has(name))
}

function textOf(encoded: string): string {
  if (!ENCODED.test(encoded)) return encoded
  try {
    return decodeURIComponent(encoded.replaceAll('+', ' ').replace(RAW_BYTE, percentEncodeByte))
  } catch {
    throw malformedRequest('The query is not valid percent-encoded UTF-8')
  }
}

/** Node represents bytes over 0x7f of the request line as Latin-1 characters. */
function percentEncodeByte(character: string): string {
  return `%${character.charCodeAt(0).toString(16)}`
}

/** Whether the text can be the id of a station: 1 to 128 characters, none of them a control character. */
export function isStationId(text: string): boolean {
  return text !== '' && text.length <= MAX_ID_LENGTH && !CONTROL_CHARACTER.test(text)
}

function parseId(values: readonly string[], lookalike: () => string | undefined): string {
  const [id, ...more] = values
  if (more.length > 0) throw invalidParameter('chargingAvailability', 'must be given once')
  if (id === undefined || id === '') throw missingParameter('chargingAvailability', lookalike())
  if (!isStationId(id)) {
    throw invalidParameter(
      'chargingAvailability',
      `must have 1 to ${MAX_ID_LENGTH} characters, none of them a control character`,
    )
  }
  return id
}

/** The union of `A,B` and of repeated parameters (as TomTom's web SDK sends arrays). */
function parseTypes(values: readonly string[]): ReadonlySet<string> | null {
  const names = values.flatMap((value) => value.split(',')).filter((name) => name !== '')
  if (!names.every((name) => TYPE_NAME.test(name))) {
    throw invalidParameter(
      'connectorSet',
      `must be a comma-separated list of names of 1 to ${MAX_TYPE_LENGTH} letters and digits`,
    )
  }
  return names.length === 0 ? null : new Set(names)
}

function parsePower(name: string, values: readonly string[]): number | null {
  const [text, ...more] = values
  if (text === undefined) return null
  if (more.length > 0) throw invalidParameter(name, 'must be given at most once')
  const power = DECIMAL.test(text) ? Number(text) : Number.NaN
  if (!Number.isFinite(power)) throw invalidParameter(name, 'must be a finite, non-negative decimal number')
  return power
}
