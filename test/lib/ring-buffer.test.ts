import { deepStrictEqual } from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { RingBuffer } from '../../src/lib/ring-buffer.ts'

function filled(capacity: number, count: number): RingBuffer<number> {
  const buffer = new RingBuffer<number>(capacity)
  for (let i = 1; i <= count; i++) buffer.push(i)
  return buffer
}

await t.test('a ring buffer returns its newest items first, up to a limit', async (t) => {
  const buffer = filled(10, 4)
  t.strictSame(buffer.newest(), [4, 3, 2, 1])
  t.strictSame(buffer.newest(2), [4, 3])
  t.strictSame(filled(10, 0).newest(), [])
})

await t.test('a ring buffer drops its oldest items and counts them still', async (t) => {
  const buffer = filled(3, 5)
  t.strictSame(buffer.newest(100), [5, 4, 3])
  t.equal(buffer.count, 5)
})

await t.test('a ring buffer returns the items after a number', async (t) => {
  const buffer = filled(10, 5)
  t.strictSame(buffer.newest(20, 3), [5, 4])
  t.strictSame(buffer.newest(20, 5), [])
  t.strictSame(buffer.newest(20, 99), [], 'a number of an earlier process may be higher than the count')
})

await t.test('a ring buffer returns the same items as a list of all that were pushed', async () => {
  const cases = fc.tuple(fc.integer({ min: 1, max: 8 }), fc.nat(30), fc.nat(12), fc.nat(40))
  fc.assert(
    fc.property(cases, ([capacity, count, limit, after]) => {
      const all = Array.from({ length: count }, (_, i) => i + 1)
      const expected = all.slice(-capacity).filter((item) => item > after)
      deepStrictEqual(
        filled(capacity, count).newest(limit, after),
        limit === 0 ? [] : expected.slice(-limit).toReversed(),
      )
    }),
  )
})
