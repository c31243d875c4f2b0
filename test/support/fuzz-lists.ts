import * as fc from 'fast-check'
import { violations } from './contract.ts'
import { anyId, anyParameter, anyQuery, isValidQuery } from './fuzz.ts'
import type { Target } from './fuzz-target.ts'
import { ensure } from './fuzz-target.ts'
import type { WireResponse } from './request.ts'
import { pathFor, request } from './request.ts'
import { answerStation } from './scripted-upstream.ts'

/* Random lists of stations: batches, and queries of event streams. */

const BATCH = '/search/2/batch/sync.json'
const MAX_ITEMS = 100
const MAX_BYTES = 65_536

const anyPath = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom('/chargingAvailability.json', '/search/2/chargingAvailability.json'),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '',
      '/',
      'chargingAvailability.json',
      '/chargingAvailability.xml',
      '/ChargingAvailability.json',
      '/chargingAvailability.json/',
      '/search/2/search/2/chargingAvailability.json',
      '/geocode/a.json',
      '//host/chargingAvailability.json',
      'http://host/search/2/chargingAvailability.json',
      BATCH,
    ),
  },
)
/** The fragment that a `#` would begin is no part of a query. */
const anyTarget = fc
  .tuple(
    anyPath,
    anyQuery.filter((query) => query.length < 1_000 && !query.includes('#')),
  )
  .map(([path, query]) => ({ query: `${path}?${query}` }))
const anyItem = fc.oneof(
  { weight: 8, arbitrary: anyTarget },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) },
  { weight: 1, arbitrary: anyTarget.map((target) => ({ ...target, post: {} })) },
)

/** The body of a batch: mostly a list of items, else JSON of another form, or text. */
export const anyBatch: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.array(anyItem, { maxLength: 8 }).map((batchItems) => JSON.stringify({ batchItems })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(anyTarget, fc.integer({ min: 98, max: 103 }))
      .map(([item, count]) => JSON.stringify({ batchItems: Array.from({ length: count }, () => item) })),
  },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.jsonValue().map((batchItems) => JSON.stringify({ batchItems })) },
  { weight: 1, arbitrary: fc.string() },
  {
    weight: 1,
    arbitrary: fc.integer({ min: -1, max: 1 }).map((more) => '{"batchItems":[]}'.padEnd(MAX_BYTES + more)),
  },
)

interface BatchResponse {
  readonly batchItems: readonly { readonly statusCode: number; readonly response: unknown }[]
  readonly summary: { readonly successfulRequests: number; readonly totalRequests: number }
}

export async function checkBatch(body: string, { proxy, upstream }: Target): Promise<void> {
  upstream.script = answerStation
  const headers = { 'content-type': 'application/json' }
  const answer = await request(proxy.url, BATCH, { method: 'POST', headers, body })
  ensureShape('POST', BATCH, answer)
  const items = itemsOf(body)
  const expected =
    Buffer.byteLength(body) > MAX_BYTES ? 413 : items === null || items.length > MAX_ITEMS ? 400 : 200
  ensure(`a ${expected}`, answer.status === expected, `${answer.status} ${answer.text}`)
  if (expected !== 200) return
  const { batchItems, summary } = JSON.parse(answer.text) as BatchResponse
  const statuses = batchItems.map(({ statusCode }) => statusCode)
  ensure(
    'the status of every item',
    JSON.stringify(statuses) === JSON.stringify(items?.map(statusOf)),
    answer.text,
  )
  const successful = statuses.filter((status) => status === 200).length
  ensure('the sum of successes', summary.successfulRequests === successful, answer.text)
  ensure('the number of items', summary.totalRequests === batchItems.length, answer.text)
  const index = statuses.indexOf(200)
  if (index < 0) return
  const { query } = (items ?? [])[index] as { query: string }
  const single = await request(proxy.url, pathFor(query.slice(query.indexOf('?') + 1)))
  const item = JSON.stringify(batchItems[index]?.response)
  ensure('the body of a single request', JSON.stringify(JSON.parse(single.text)) === item, item)
}

function itemsOf(body: string): unknown[] | null {
  try {
    const parsed = JSON.parse(body) as { batchItems?: unknown } | null
    const isList = typeof parsed === 'object' && !Array.isArray(parsed) && Array.isArray(parsed?.batchItems)
    return isList ? (parsed?.batchItems as unknown[]) : null
  } catch {
    return null
  }
}

/** An oracle for an item. Targets of random JSON have no known path. */
function statusOf(item: unknown): number {
  const { query, post } = (item ?? {}) as { query?: unknown; post?: unknown }
  if (typeof query !== 'string' || post !== undefined || Array.isArray(item) || !query.startsWith('/'))
    return 400
  const end = query.includes('?') ? query.indexOf('?') : query.length
  const path = query.slice(0, end).replace('/search/2/', '/')
  if (path === '/chargingAvailability.xml') return 400
  if (path !== '/chargingAvailability.json') return 404
  return isValidQuery(query.slice(end + 1)) ? 200 : 400
}

const anyFilter = anyParameter.filter((text) => !/harging/i.test(decodeURIComponentOr(text)))

/** The query of an event stream, by its stations and its other parameters. */
export interface EventsQuery {
  readonly ids: readonly string[]
  readonly others: readonly string[]
}

export const anyEventsQuery: fc.Arbitrary<EventsQuery> = fc.record({
  ids: fc.oneof(
    { weight: 8, arbitrary: fc.array(anyId, { maxLength: 5 }) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.integer({ min: 98, max: 103 }), fc.integer({ min: 1, max: 2 }))
        .map(([count, times]) => Array.from({ length: count * times }, (_, i) => `s${i % count}`)),
    },
  ),
  others: fc.array(anyFilter, { maxLength: 3 }),
})

/** With HEAD, which opens no stream. */
export async function checkEventsQuery({ ids, others }: EventsQuery, { proxy }: Target): Promise<void> {
  const path = `/events?${[...ids.map((id) => `chargingAvailability=${id}`), ...others].join('&')}`
  const isEach = ids.every((id) => isValidQuery([`chargingAvailability=${id}`, ...others].join('&')))
  const expected =
    ids.length > 0 && isEach && new Set(ids.map(decodeURIComponentOr)).size <= MAX_ITEMS ? 200 : 400
  const { status } = await request(proxy.url, path, { method: 'HEAD' })
  ensure(`a ${expected}`, status === expected, `${status} ${path}`)
  if (expected === 400) ensureShape('GET', path, await request(proxy.url, path))
}

function ensureShape(method: string, path: string, { status, headers, text }: WireResponse): void {
  const problems = violations({ method, path, status, headers, body: text })
  ensure('the documented shape', problems.length === 0, problems.join('; '))
}

function decodeURIComponentOr(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
