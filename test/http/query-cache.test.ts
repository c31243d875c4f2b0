import { deepStrictEqual } from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { MAX_ID_LENGTH, parseQuery } from '../../src/availability/query.ts'
import { QueryCache } from '../../src/http/query-cache.ts'

/** The query, or the code and reason of its error. */
function outcome(read: (raw: string) => unknown, raw: string): unknown {
  try {
    return read(raw)
  } catch (error) {
    const { code, message, reason } = error as Error & { code: string; reason?: string }
    return { code, message, reason }
  }
}

const part = fc.oneof(
  fc.constantFrom(
    'chargingAvailability=a-1',
    'chargingAvailability=b_2',
    'chargingAvailability=%61-1',
    'chargingAvailability=a+1',
    'chargingAvailability=',
    'chargingAvailability',
    'charging%41vailability=c3',
    'XchargingAvailability=d4',
    `chargingAvailability=${'x'.repeat(MAX_ID_LENGTH)}`,
    `chargingAvailability=${'x'.repeat(MAX_ID_LENGTH + 1)}`,
    'connectorSet=Chademo',
    'connectorSet=Chademo,IEC62196Type2CCS',
    'connectorSet=%2C',
    'connectorSet=!',
    'minPowerKW=22',
    'minPowerKW=x',
    'maxPowerKW=11',
    'maxPowerKW=50.5',
    'key=client',
    'key=%ff',
    '',
    '=',
  ),
  fc.string({ maxLength: 12 }),
)
const query = fc.array(part, { maxLength: 6 }).map((parts) => parts.join('&'))

await t.test('a query has the same outcome as in parseQuery, whatever was read before', async () => {
  const queries = new QueryCache(20)
  fc.assert(
    fc.property(query, (raw) => {
      const expected = outcome(parseQuery, raw)
      deepStrictEqual(
        outcome((text) => queries.read(text), raw),
        expected,
        'the first time',
      )
      deepStrictEqual(
        outcome((text) => queries.read(text), raw),
        expected,
        'the second time',
      )
    }),
    { numRuns: 3_000, seed: 7 },
  )
})

await t.test(
  'a query is cached once it has been read, unless it is invalid or its station is encoded',
  async (t) => {
    const queries = new QueryCache(20)
    const cachedAfterRead = (raw: string) => {
      const before = queries.cached(raw)
      const read = outcome((text) => queries.read(text), raw)
      return [before, queries.cached(raw), read]
    }
    const valid = 'chargingAvailability=one&minPowerKW=22'
    const parsed = parseQuery(valid)
    t.strictSame(cachedAfterRead(valid), [null, parsed, parsed])
    t.strictSame(
      queries.cached('minPowerKW=22&chargingAvailability=two'),
      null,
      'another order is another key',
    )
    t.strictSame(queries.cached('chargingAvailability=two&minPowerKW=22'), { ...parsed, id: 'two' })
    const others = ['chargingAvailability=a&minPowerKW=x', 'minPowerKW=22', 'chargingAvailability=%61']
    t.strictSame(
      others.map((raw) => cachedAfterRead(raw).slice(0, 2)),
      others.map(() => [null, null]),
    )
  },
)

await t.test('a filter that was parsed for one station is reused for the next', async (t) => {
  const queries = new QueryCache(20)
  const first = queries.read('chargingAvailability=one&connectorSet=Chademo&minPowerKW=22')
  const second = queries.read('chargingAvailability=two&connectorSet=Chademo&minPowerKW=22')
  t.strictSame([first.id, second.id], ['one', 'two'])
  t.equal(second.types, first.types, 'the same Set object')
})

await t.test('the oldest filter is dropped when the cache is full', async (t) => {
  const queries = new QueryCache(2)
  const read = (set: string) => queries.read(`chargingAvailability=one&connectorSet=${set}`).types
  const [a, b] = [read('A'), read('B')]
  t.equal(read('A'), a)
  const c = read('C')
  t.equal(read('B'), b)
  t.equal(read('C'), c)
  t.not(read('A'), a)
})

await t.test('a query of more than 512 characters beside its station is not cached', async (t) => {
  const queries = new QueryCache(20)
  const read = (length: number) => {
    const rest = '&connectorSet=Chademo&x='
    return queries.read(`chargingAvailability=one${rest}${'x'.repeat(length - rest.length)}`).types
  }
  t.strictSame(
    [511, 512, 513].map((length) => read(length) === read(length)),
    [true, true, false],
  )
})
