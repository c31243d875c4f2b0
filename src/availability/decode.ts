import { parse } from 'secure-json-parse'
import { ServiceError } from '../errors.ts'
import type { Availability, Connector } from './model.ts'
import { isObject } from './model.ts'

/** Maximum nesting of an answer. The reference's sample has 6 levels. */
export const MAX_DEPTH = 32

/**
 * Decodes upstream's body as the answer for `id`. Accepts connector types and members that are not documented, so that
 * upstream can add some.
 * @throws ServiceError UpstreamFailed if it is not an answer for this id; the reason names the problem
 */
export function decodeAvailability(text: string, id: string): Availability {
  const body = parseBody(text)
  if (!isObject(body)) throw notAnAnswer('the body is not an object')
  if (typeof body['chargingAvailability'] !== 'string') throw notAnAnswer('the body has no id')
  if (body['chargingAvailability'] !== id) throw new AnotherStationError()
  if (!Array.isArray(body['connectors'])) throw notAnAnswer('connectors is not an array')
  if (!body['connectors'].every(isConnector)) throw notAnAnswer('a connector has no type or no availability')
  if (isDeeperThan(body, MAX_DEPTH)) throw notAnAnswer(`the body is nested deeper than ${MAX_DEPTH}`)
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

/** Not recursive: JSON.parse accepts 200,000 nested brackets, which would overflow the stack here. */
function isDeeperThan(value: object, limit: number): boolean {
  let level: object[] = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= limit) return true
    const next: object[] = [] // twice as fast as flatMap (measured), and it runs on every miss
    for (const item of level)
      for (const inner of Object.values(item)) if (isContainer(inner)) next.push(inner)
    level = next
  }
  return false
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null
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
