import * as fc from 'fast-check'
import t from 'tap'
import { MAX_ID_LENGTH, parseQuery } from '../../src/availability/query.ts'
import { QueryCache } from '../../src/http/query-cache.ts'

/** What reading gives: the query, or the code and reason of its refusal. */
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

await t.test('a query reads the same whatever was read before', async (t) => {
  const memo = new QueryCache(20)
  fc.assert(
    fc.property(query, (raw) => {
      for (const _ of ['for the first time', 'again']) {
        t.strictSame(
          outcome((text) => memo.read(text), raw),
          outcome(parseQuery, raw),
          raw,
        )
      }
    }),
    { numRuns: 3_000, seed: 7 },
  )
})

await t.test('a filter that was read for one station holds for the next', async (t) => {
  const memo = new QueryCache(20)
  const first = memo.read('chargingAvailability=one&connectorSet=Chademo&minPowerKW=22')
  const second = memo.read('chargingAvailability=two&connectorSet=Chademo&minPowerKW=22')
  t.same([first.id, second.id], ['one', 'two'])
  t.equal(second.types, first.types, 'the very set of the first: it was not made again')
})

await t.test('no more filters are remembered than asked for', async (t) => {
  const memo = new QueryCache(2)
  const read = (set: string) => memo.read(`chargingAvailability=one&connectorSet=${set}`).types
  const [a, b] = [read('A'), read('B')]
  t.equal(read('A'), a, 'two are')
  read('C')
  t.equal(read('A'), a, 'of three, the one used last')
  t.not(read('B'), b, 'and not the one that nobody used for longest')
})

await t.test('long queries are read, not remembered', async (t) => {
  const memo = new QueryCache(20)
  const read = (length: number) => {
    const rest = '&connectorSet=Chademo&x='
    return memo.read(`chargingAvailability=one${rest}${'x'.repeat(length - rest.length)}`).types
  }
  t.equal(read(511), read(511))
  t.equal(read(512), read(512))
  t.not(read(513), read(513))
})
