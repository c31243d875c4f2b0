import { formatDouble } from './number.ts'
import type { Availability } from './model.ts'
import { isObject } from './model.ts'

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
/** Characters that XML 1.0 does not allow, not even escaped (https://www.w3.org/TR/xml/#charsets). */
// oxlint-disable-next-line no-control-regex
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g
/** A raw carriage return would be parsed as a line feed. */
const SPECIAL = /[&<>"'\r]/g
const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\r': '&#13;',
}

/**
 * The XML body as the reference shows it: `chargingAvailability` first, connectors as `<item>`, and one
 * `<perPowerLevel><power>…` per row. Undocumented members follow the same rules: an object nests, an array contains
 * `<item>`s, null is an empty element.
 */
export function renderXml(availability: Availability): string {
  const { chargingAvailability, ...rest } = availability
  return `${DECLARATION}<response>${element('chargingAvailability', chargingAvailability)}${members(rest)}</response>`
}

/** `<name>text</name>`, escaped; also for the error bodies. */
export function textElement(name: string, text: string): string {
  return `<${name}>${escapeText(text)}</${name}>`
}

function members(object: object): string {
  return Object.entries(object)
    .map(([name, value]) => element(elementName(name), value))
    .join('')
}

function element(name: string, value: unknown): string {
  if (Array.isArray(value)) return name === 'perPowerLevel' ? powerLevels(value) : list(name, value)
  if (isObject(value)) return `<${name}>${members(value)}</${name}>`
  if (typeof value === 'number' && name === 'powerKW') return textElement(name, formatDouble(value))
  return textElement(name, value === null ? '' : `${value as string | number | boolean}`)
}

function list(name: string, items: readonly unknown[]): string {
  return `<${name}>${items.map((item) => element('item', item)).join('')}</${name}>`
}

function powerLevels(rows: readonly unknown[]): string {
  return rows.map((row) => `<perPowerLevel>${element('power', row)}</perPowerLevel>`).join('')
}

function escapeText(text: string): string {
  return text
    .toWellFormed()
    .replace(FORBIDDEN, '\ufffd')
    .replace(SPECIAL, (character) => ESCAPES[character] ?? '')
}

/** The element name for a member: characters that XML does not allow there become `_`. */
function elementName(name: string): string {
  const cleaned = name.replace(/[^A-Za-z0-9_.-]/g, '_')
  return /^[A-Za-z_]/.test(cleaned) ? cleaned : `_${cleaned}`
}
