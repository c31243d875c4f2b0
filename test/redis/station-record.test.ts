import t from 'tap'
import { decodeStation, encodeStation } from '../../src/redis/station-record.ts'

const STATE = {
  served: 7,
  servedAgesS: 70,
  changes: 3,
  watchedS: 900,
  weight1024ths: 2_048,
  evidence: 9_000,
}

await t.test('what is known of a station is read as it was written', (t) => {
  t.strictSame(decodeStation(encodeStation('v~1', STATE), 'v~1'), STATE)
  t.strictSame(decodeStation(encodeStation('v', STATE), 'w'), { ...STATE, served: 0, servedAgesS: 0 })
  t.end()
})

await t.test('another value has numbers that are none, or is no state', (t) => {
  t.equal(decodeStation(null, 'v'), null)
  t.match(decodeStation('v 1 2', 'v'), { changes: NaN })
  t.match(decodeStation('v a b c d e f', 'v'), { served: NaN, watchedS: NaN })
  t.end()
})
