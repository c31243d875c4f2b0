import * as fc from 'fast-check'
import t from 'tap'
import { parseQuery } from '../../src/availability/query.ts'
import { ServiceError } from '../../src/errors.ts'
import { parseBatch } from '../../src/http/batch/batch-items.ts'

/** Each item as its station id, or the code and status of its error. */
function parsed(...batchItems: unknown[]): string[] {
  const items = parseBatch(JSON.stringify({ batchItems }), parseQuery)
  return items.map((item) => (item instanceof ServiceError ? `${item.status} ${item.code}` : item.id))
}

const codeOf = (body: string) => {
  try {
    return parseBatch(body, parseQuery).length
  } catch (error) {
    return (error as ServiceError).code
  }
}

const target = (query: string) => ({ query: `/chargingAvailability.json?${query}` })

await t.test('an item is a target relative to /search/2, with or without that prefix', async (t) => {
  t.strictSame(
    parsed(
      target('chargingAvailability=A'),
      { query: '/search/2/chargingAvailability.json?chargingAvailability=B&key=x' },
      target('key=a-key&chargingAvailability=a%20b%2Bc'),
      target('chargingAvailability=%C3%A4'),
      target('chargingAvailability=ä'),
      target('chargingAvailability=A#chargingAvailability=B'),
    ),
    ['A', 'B', 'a b+c', 'ä', 'ä', 'A'],
  )
})

await t.test('an invalid item is an error of its own in its place', async (t) => {
  t.strictSame(
    parsed(
      target('chargingAvailability=A'),
      target(''),
      { query: '/chargingAvailability.json' },
      target('chargingAvailability=A&minPowerKW=fast'),
      { query: '/chargingAvailability.xml?chargingAvailability=A' },
      { query: '/search/2/chargingAvailability.yaml?chargingAvailability=A' },
      { query: '/geocode/x.json' },
      { query: '/search/2/batch/sync.json' },
      { query: 'chargingAvailability.json?chargingAvailability=A' },
      { query: 'https://api.tomtom.com/search/2/chargingAvailability.json?chargingAvailability=A' },
      { ...target('chargingAvailability=A'), post: {} },
      { query: 7 },
      {},
      null,
      'text',
      [target('chargingAvailability=A')],
      target('chargingAvailability=\ud800'),
      target('chargingAvailability=%ff'),
      target('chargingAvailability=B'),
    ),
    [
      'A',
      '400 MissingParameter',
      '400 MissingParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '404 NotFound',
      '404 NotFound',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      '400 InvalidParameter',
      'B',
    ],
  )
})

await t.test('a body that is no batch, or has more than 100 items, is rejected as a whole', async (t) => {
  const bodies = ['', '{', 'null', '[]', '{}', '{"batchItems":{}}', '{"batchItems":null}', '"batchItems"']
  t.strictSame(
    bodies.map(codeOf),
    bodies.map(() => 'InvalidParameter'),
  )
  const items = (count: number) => JSON.stringify({ batchItems: Array(count).fill(target('x')) })
  t.strictSame([0, 1, 100, 101].map(items).map(codeOf), [0, 1, 100, 'InvalidParameter'])
})

await t.test('any items are parsed to as many results, and nothing else is thrown', async () => {
  const query = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string().map((text) => target(text).query),
  )
  const item = fc.oneof(fc.anything(), fc.record({ query }), fc.record({ query, post: fc.anything() }))
  fc.assert(
    fc.property(fc.array(item, { maxLength: 20 }), (batchItems) => {
      const body = JSON.stringify({ batchItems }) // drops what JSON cannot represent
      const count = (JSON.parse(body) as { batchItems: unknown[] }).batchItems.length
      return parseBatch(body, parseQuery).length === count
    }),
  )
})
