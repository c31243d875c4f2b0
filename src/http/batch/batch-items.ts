import { isObject } from '../../availability/model.ts'
import type { Query } from '../../availability/query.ts'
import { invalidParameter, malformedRequest, ServiceError } from '../../errors.ts'

/** Maximum number of items, as upstream's own batch form has it. */
const MAX_ITEMS = 100

/** Parses a query string; the rules are those of the proxied route. */
export type ReadQuery = (raw: string) => Query

/** A valid item as its query; an invalid one as its error. */
export type BatchItem = Query | ServiceError

const PREFIX = '/search/2/'
const RESOURCE = '/chargingAvailability'
const NOT_ASCII = /[^\0-\x7f]+/g

/**
 * The items of a batch, in its order: `{"batchItems":[{"query":"/chargingAvailability.json?chargingAvailability=A"}]}`.
 * An invalid item does not affect the others.
 * @throws ServiceError InvalidParameter if the body is no batch, or has too many items
 */
export function parseBatch(body: string, readQuery: ReadQuery): BatchItem[] {
  const items = batchItemsOf(parseJson(body))
  if (items === null) throw malformedRequest("The body must be a JSON object with an array 'batchItems'")
  if (items.length > MAX_ITEMS) throw invalidParameter('batchItems', `must have at most ${MAX_ITEMS} items`)
  return items.map((item) => parseItem(item, readQuery))
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

function batchItemsOf(body: unknown): unknown[] | null {
  const items = isObject(body) ? body['batchItems'] : null
  return Array.isArray(items) ? (items as unknown[]) : null
}

function parseItem(item: unknown, readQuery: ReadQuery): BatchItem {
  try {
    return readQuery(queryOf(item))
  } catch (error) {
    if (error instanceof ServiceError) return error
    throw error
  }
}

/** The query string of an item's target, which is relative to `/search/2` and may begin with that prefix. */
function queryOf(item: unknown): string {
  const target = isObject(item) ? item['query'] : undefined
  if (typeof target !== 'string') throw malformedRequest("An item must be an object with a string 'query'")
  if (Object.hasOwn(item as object, 'post')) throw malformedRequest("An item must not have 'post'")
  if (!target.startsWith('/')) throw malformedRequest("The 'query' of an item must begin with a slash")
  const [start = ''] = target.split('#', 1)
  const end = start.indexOf('?')
  checkPath(end === -1 ? start : start.slice(0, end))
  return end === -1 ? '' : encodeAsUrl(start.slice(end + 1))
}

function checkPath(path: string): void {
  const relative = path.startsWith(PREFIX) ? path.slice(PREFIX.length - 1) : path
  if (relative === `${RESOURCE}.json`) return
  const isOtherFormat = relative.startsWith(`${RESOURCE}.`) && !relative.includes('/', 1)
  if (isOtherFormat) throw invalidParameter('ext', "must be 'json' in a batch")
  throw new ServiceError('NotFound')
}

/** Other characters than ASCII, as a browser would encode them in a URL. */
function encodeAsUrl(query: string): string {
  try {
    return query.replace(NOT_ASCII, encodeURIComponent)
  } catch {
    throw malformedRequest('The query of an item is not valid Unicode') // a lone surrogate
  }
}
