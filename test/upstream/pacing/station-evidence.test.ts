import t from 'tap'
import {
  MAX_INFORMATION,
  packEvidence,
  unpackEvidence,
} from '../../../src/upstream/pacing/station-evidence.ts'

await t.test('evidence is the same after it was packed, to its units', async (t) => {
  const evidence = { value: -1.25, information: 2.5 }
  t.strictSame(unpackEvidence(packEvidence(evidence)), evidence)
})

await t.test('a station of which nothing is known has no information', async (t) => {
  t.equal(unpackEvidence(0).information, 0)
})

await t.test('evidence beyond its bounds is packed as the bounds', async (t) => {
  const packed = [-12, -12.1, 7.99, 8, 8.1].map((value) => packEvidence({ value, information: 1 }))
  t.strictSame(
    packed.map((one) => unpackEvidence(one).value),
    [-12, -12, 7.9921875, 8, 8],
  )
  t.equal(unpackEvidence(packEvidence({ value: 0, information: 9 })).information, MAX_INFORMATION)
})

await t.test('whatever a store contains, information is bounded', async (t) => {
  t.strictSame(
    [1_000, 2 ** 30 - 1].map((packed) => unpackEvidence(packed).information),
    [0, MAX_INFORMATION],
  )
})
