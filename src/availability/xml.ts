import { ServiceError } from '../errors.ts'
import { formatDouble } from './number.ts'
import type { Availability } from './model.ts'
import { isNumber, isObject } from './model.ts'
import { TextWriter } from './text-writer.ts'

const UNDERSCORE = '_'.charCodeAt(0)
const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
/** Not allowed in XML 1.0, not even escaped (https://www.w3.org/TR/xml/#charsets). */
const REPLACEMENT = '\ufffd'
const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\r': '&#13;', // a raw carriage return would be parsed as a line feed
}
/** By character code, up to that of `>`. */
const ESCAPE_OF = Array.from({ length: 0x3f }, (_, code) => {
  const character = String.fromCharCode(code)
  return ESCAPES[character] ?? (isForbidden(code) ? REPLACEMENT : null)
})

/**
 * The XML body as the reference shows it: `chargingAvailability` first, connectors as `<item>`, and one
 * `<perPowerLevel><power>…` per row, which is an object. Undocumented members follow the same rules: an object nests, an
 * array contains `<item>`s, null is an empty element.
 * @param maxLength in characters
 * @throws RenderingTooLargeError as soon as the body is longer: XML can take twenty times the characters of its JSON
 */
export function renderXml(availability: Availability, maxLength = Number.POSITIVE_INFINITY): string {
  const { chargingAvailability, ...rest } = availability
  const writer = new Writer(maxLength)
  writer.append(`${DECLARATION}<response>`)
  writer.element('chargingAvailability', chargingAvailability)
  writer.members(rest)
  writer.append('</response>')
  return writer.end()
}

export class RenderingTooLargeError extends ServiceError {
  constructor() {
    super('UpstreamFailed', { reason: 'the rendering of the answer is larger than allowed' })
    Object.freeze(this)
  }
}

/** `<name>text</name>`, escaped; also for the error bodies. */
export function textElement(name: string, text: string): string {
  const writer = new Writer(Number.POSITIVE_INFINITY)
  writer.element(name, text)
  return writer.end()
}

class Writer {
  readonly #text: TextWriter

  constructor(maxLength: number) {
    this.#text = new TextWriter(maxLength, () => {
      throw new RenderingTooLargeError()
    })
  }

  append(text: string): void {
    this.#text.append(text)
  }

  end(): string {
    return this.#text.toString()
  }

  members(object: Readonly<Record<string, unknown>>): void {
    for (const name of Object.keys(object)) this.element(name, object[name])
  }

  element(name: string, value: unknown): void {
    if (Array.isArray(value) && name === 'perPowerLevel') {
      this.#powerLevels(value)
      return
    }
    this.#tag('<', name)
    if (Array.isArray(value)) this.#items(value)
    else if (isObject(value)) this.members(value)
    else if (typeof value === 'string') this.#escaped(value)
    else if (isNumber(value)) this.append(name === 'powerKW' ? formatDouble(value) : `${value}`)
    else if (typeof value === 'boolean') this.append(`${value}`)
    this.#tag('</', name)
  }

  #items(items: readonly unknown[]): void {
    for (const item of items) this.element('item', item)
  }

  #powerLevels(rows: readonly unknown[]): void {
    for (const row of rows) {
      if (!isObject(row)) continue
      this.append('<perPowerLevel>')
      this.element('power', row)
      this.append('</perPowerLevel>')
    }
  }

  /** A tag with the name of a member: characters that XML does not allow in a name become `_`. */
  #tag(opening: string, name: string): void {
    const text = this.#text
    text.append(opening)
    const first = name.charCodeAt(0)
    if (name === '' || (isInName(first) && !startsName(first))) text.put(UNDERSCORE)
    for (let i = 0; i < name.length; i++) {
      const code = name.charCodeAt(i)
      text.put(isInName(code) ? code : UNDERSCORE)
    }
    text.append('>')
  }

  /** Character by character: regular expressions take three times as long for a body that is made to be slow. */
  #escaped(value: string): void {
    const text = this.#text
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      const escape = escapeOf(code, value.charCodeAt(i + 1))
      if (escape === null) {
        text.put(code)
        if (isSurrogate(code)) text.put(value.charCodeAt(++i))
      } else text.append(escape)
    }
  }
}

/** The text for a character; null for itself. `next` is the UTF-16 unit behind it. */
function escapeOf(code: number, next: number): string | null {
  if (code < ESCAPE_OF.length) return ESCAPE_OF[code] as string | null
  return code < 0xd800 || isPair(code, next) || !isForbidden(code) ? null : REPLACEMENT
}

function isPair(high: number, low: number): boolean {
  return (high & 0xfc00) === 0xd800 && (low & 0xfc00) === 0xdc00
}

function isSurrogate(code: number): boolean {
  return (code & 0xf800) === 0xd800
}

/** Control characters except tab, line feed and carriage return; lone surrogates; the last two of the plane. */
function isForbidden(code: number): boolean {
  if (code < 0x20) return code !== 0x09 && code !== 0x0a && code !== 0x0d
  return isSurrogate(code) || code >= 0xfffe
}

function isInName(code: number): boolean {
  return startsName(code) || (code >= 0x30 && code <= 0x39) || code === 0x2d || code === 0x2e
}

function startsName(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || code === UNDERSCORE
}
