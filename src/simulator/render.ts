import type { Deviations } from './deviations.ts'
import { NO_DEVIATIONS } from './deviations.ts'
import type { Connector, Format, PowerLevel, StationBody } from './model.ts'
import { COUNTS } from './model.ts'
import type { EndpointError } from './request.ts'

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  json: 'application/json; charset=utf-8',
  xml: 'application/xml; charset=utf-8',
}

export function renderStation(
  station: StationBody,
  format: Format,
  deviations: Deviations = NO_DEVIATIONS,
): string {
  if (format === 'xml') return stationXml(station, deviations)
  return deviations.has('numbers') ? JSON.stringify(station) : minified(station)
}

/** The documented error. Its XML form has no status. */
export function renderError({ message, status, code, detail }: EndpointError, format: Format): string {
  if (format === 'json') {
    const detailedError = { code, message: detail }
    return JSON.stringify({ message, detailedError, httpStatusCode: String(status) })
  }
  const detailedError = [element('code', code), element('message', detail)]
  return lines(
    wrap('ErrorEvResponse', [element('message', message), ...wrap('detailedError', detailedError)]),
  )
}

/** Like JSON.stringify, but powers keep a fraction: upstream prints doubles as `50.0`. */
function minified(value: unknown, name = ''): string {
  if (Array.isArray(value)) return `[${value.map((item) => minified(item)).join()}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined)
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${minified(member, key)}`).join()}}`
  }
  return name === 'powerKW' && typeof value === 'number' ? double(value) : JSON.stringify(value)
}

function double(value: number): string {
  return /^-?\d+$/.test(String(value)) ? `${value}.0` : JSON.stringify(value)
}

function stationXml({ chargingAvailability, connectors }: StationBody, deviations: Deviations): string {
  const id = element('chargingAvailability', chargingAvailability)
  const list = wrap('connectors', connectors.flatMap(connectorXml))
  const body = deviations.has('xml-order') ? [...list, id] : [id, ...list]
  return lines(['<?xml version="1.0" encoding="UTF-8"?>', ...wrap('response', body)])
}

function connectorXml({ type, total, availability }: Connector): string[] {
  const { current = {}, perPowerLevel = [] } = availability
  const rows = perPowerLevel.flatMap((row) => wrap('perPowerLevel', wrap('power', rowXml(row))))
  return wrap('item', [
    element('type', type),
    element('total', total),
    ...wrap('availability', [...wrap('current', countsXml(current)), ...rows]),
  ])
}

function rowXml(row: PowerLevel): string[] {
  return [element('powerKW', double(row.powerKW)), ...countsXml(row)]
}

function countsXml(counts: Readonly<Record<string, unknown>>): string[] {
  return COUNTS.filter((name) => counts[name] !== undefined).map((name) => element(name, counts[name]))
}

function wrap(name: string, inner: readonly string[]): string[] {
  return inner.length === 0 ? [`<${name}/>`] : [`<${name}>`, ...inner, `</${name}>`]
}

function element(name: string, value: unknown): string {
  return `<${name}>${escaped(String(value))}</${name}>`
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

/** XML 1.0 has no control characters, not even as references. */
function escaped(text: string): string {
  return text
    .replaceAll(/[&<>]/g, (character) => ENTITIES[character] ?? '')
    .replaceAll(/[^\P{Cc}\t\n\r]/gu, '\u{fffd}')
}

function lines(parts: readonly string[]): string {
  return parts.join('\n')
}
