import { parse } from 'secure-json-parse'
import { ServiceError } from '../errors.ts'
import type { Availability, Connector } from './model.ts'
import { isObject } from './model.ts'

/**
 * Characters or bytes of an answer up to which it is decoded at once. A longer one is decoded in a turn of the event loop that
 * decodes no other, as a megabyte takes up to 30 ms, and what is made of it follows in another turn.
 */
export const MAX_SHORT_TEXT = 16_384
/** Maximum nesting of an answer. The reference's sample has 6 levels. */
export const MAX_DEPTH = 32
/** Maximum objects and arrays in an answer. A real station has a few hundred; a megabyte in its shape has 20,000. */
export const MAX_CONTAINERS = 25_000
/** Maximum different names of members in an answer. The reference's sample has 15. */
export const MAX_NAMES = 1_000

const code = (character: string) => character.charCodeAt(0)
const [QUOTE, BACKSLASH, COLON] = [code('"'), code('\\'), code(':')]
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [code('{'), code('}'), code('['), code(']')]

/**
 * Decodes upstream's body as the answer for `id`. Accepts connector types and members that are not documented, so that
 * upstream can add some.
 * @throws ServiceError UpstreamFailed if it is not an answer for this id; the reason names the problem
 */
export function decodeAvailability(text: string, id: string): Availability {
  rejectExcess(text)
  const body = parseBody(text)
  if (!isObject(body)) throw notAnAnswer('the body is not an object')
  if (typeof body['chargingAvailability'] !== 'string') throw notAnAnswer('the body has no id')
  if (body['chargingAvailability'] !== id) throw new AnotherStationError()
  if (!Array.isArray(body['connectors'])) throw notAnAnswer('connectors is not an array')
  if (!body['connectors'].every(isConnector)) throw notAnAnswer('a connector has no type or no availability')
  return body as Availability
}

/** Members `__proto__` and `constructor.prototype` make the body invalid. */
function parseBody(text: string): unknown {
  try {
    return parse(text, { protoAction: 'error', constructorAction: 'error' })
  } catch {
    // Without the parser's error as cause: its message quotes the body, which may contain the key.
    throw notAnAnswer('the body is not JSON, or has a prototype member')
  }
}

function isConnector(value: unknown): value is Connector {
  return isObject(value) && typeof value['type'] === 'string' && isObject(value['availability'])
}

/**
 * Before parsing, which takes up to twenty times the memory of the text: for 350,000 empty objects, and for names that
 * are all different, each of which is a shape of an object to V8.
 */
function rejectExcess(json: string): void {
  const names = new Set<number>()
  let depth = 0
  let containers = 0
  let text = 0 // where the last string begins
  let textEnd = 0
  for (let i = 0; i < json.length; i++) {
    const at = json.charCodeAt(i)
    if (at === QUOTE) {
      text = i
      textEnd = i = endOfString(json, i)
    } else if (at === COLON) {
      if (names.add(hashOf(json, text, textEnd)).size > MAX_NAMES)
        throw notAnAnswer('the body has too many names')
    } else if (at === OPEN_BRACE || at === OPEN_BRACKET) {
      if (++depth > MAX_DEPTH) throw notAnAnswer(`the body is nested deeper than ${MAX_DEPTH}`)
      if (++containers > MAX_CONTAINERS) throw notAnAnswer('the body has too many objects and arrays')
    } else if (at === CLOSE_BRACE || at === CLOSE_BRACKET) depth--
  }
}

/** FNV-1a over a part of a text, in 30 bits, which V8 stores without an object. */
function hashOf(text: string, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash & 0x3fffffff
}

/** The position of the quote that ends the string that begins at `start`; past the end without one. */
function endOfString(json: string, start: number): number {
  let i = start + 1
  while (i < json.length && json.charCodeAt(i) !== QUOTE) i += json.charCodeAt(i) === BACKSLASH ? 2 : 1
  return i
}

/** A complete answer, but for another id, such as another spelling: upstream itself is healthy. */
export class AnotherStationError extends ServiceError {
  constructor() {
    super('UpstreamFailed', { reason: 'not an answer: the body has another id than the call' })
    Object.freeze(this)
  }
}

function notAnAnswer(reason: string): ServiceError {
  return new ServiceError('UpstreamFailed', { reason: `not an answer: ${reason}` })
}
