import t from 'tap'
import { decodeStation, encodeStation } from '../../src/redis/station-record.ts'
import { KNOWN } from '../support/station-state.ts'

await t.test('what is known of a station is read as it was written', (t) => {
  t.strictSame(decodeStation(encodeStation('v~1', KNOWN), 'v~1'), KNOWN)
  t.strictSame(decodeStation(encodeStation('v', KNOWN), 'w'), { ...KNOWN, served: 0, servedAgesS: 0 })
  t.end()
})

await t.test('another value has numbers that are none, or is no state', (t) => {
  t.equal(decodeStation(null, 'v'), null)
  t.match(decodeStation('v 1 2', 'v'), { changes: NaN })
  t.match(decodeStation('v a b c d e f', 'v'), { served: NaN, watchedS: NaN })
  t.end()
})
