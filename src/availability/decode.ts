import { parse } from 'secure-json-parse'
import { ServiceError } from '../errors.ts'
import type { Availability, Connector } from './model.ts'
import { isObject } from './model.ts'

/** Deepest accepted nesting of an answer; the reference's own goes down to 6. */
export const MAX_DEPTH = 32

/**
 * Reads upstream's body as the answer for `id`. Accepts what upstream may grow (types and members that we do
 * not know) and nothing that is no answer for this id.
 * @throws ServiceError UpstreamFailed, its reason naming what was wrong
 */
export function decodeAvailability(text: string, id: string): Availability {
  const body = parseBody(text)
  if (!isObject(body)) throw notAnAnswer('the body is not an object')
  if (typeof body['chargingAvailability'] !== 'string') throw notAnAnswer('the body names no id')
  if (body['chargingAvailability'] !== id) throw new AnotherStationError()
  if (!Array.isArray(body['connectors'])) throw notAnAnswer('connectors is not an array')
  if (!body['connectors'].every(isConnector)) throw notAnAnswer('a connector has no type or no availability')
  if (isDeeperThan(body, MAX_DEPTH)) throw notAnAnswer(`the body is nested deeper than ${MAX_DEPTH}`)
  return body as Availability
}

/** `__proto__` and `constructor.prototype` members are refused: they have no business in an answer. */
function parseBody(text: string): unknown {
  try {
    return parse(text, { protoAction: 'error', constructorAction: 'error' })
  } catch {
    // Not with the parser's error: its message quotes the body, which may hold the key.
    throw notAnAnswer('the body is not JSON, or has a prototype member')
  }
}

function isConnector(value: unknown): value is Connector {
  return isObject(value) && typeof value['type'] === 'string' && isObject(value['availability'])
}

/** Without recursion: JSON.parse reads 200,000 nested brackets without one, too. */
function isDeeperThan(value: object, limit: number): boolean {
  let level: object[] = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= limit) return true
    const next: object[] = [] // twice as fast as flatMap, on every miss
    for (const item of level)
      for (const inner of Object.values(item)) if (isContainer(inner)) next.push(inner)
    level = next
  }
  return false
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Upstream answered, and well, for an id that it spells in another way. */
export class AnotherStationError extends ServiceError {
  constructor() {
    super('UpstreamFailed', { reason: 'not an answer: the body is not about the id that was asked' })
    Object.freeze(this)
  }
}

function notAnAnswer(reason: string): ServiceError {
  return new ServiceError('UpstreamFailed', { reason: `not an answer: ${reason}` })
}
