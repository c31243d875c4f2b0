import { deepStrictEqual } from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { RollingCounters } from '../../../src/ops/status/rolling-counters.ts'

await t.test('rolling counters return the completed rows, with zeros for skipped slots', async (t) => {
  const counters = new RollingCounters(4, 2, 100)
  counters.count(0)
  counters.advance(102)
  counters.count(1)
  counters.count(1)
  counters.advance(103)
  t.strictSame(counters.completed(-1), {
    from: 100,
    rows: [
      [1, 0],
      [0, 0],
      [0, 2],
    ],
  })
})

await t.test('rolling counters drop the oldest rows', async (t) => {
  const counters = new RollingCounters(4, 1, 100)
  counters.count(0)
  counters.advance(102)
  counters.count(0)
  counters.advance(105)
  t.strictSame(counters.completed(-1), { from: 102, rows: [[1], [0], [0]] })
})

await t.test('rolling counters return only the rows after a slot', async (t) => {
  const counters = new RollingCounters(4, 1, 100)
  counters.advance(105)
  t.strictSame(counters.completed(103), { from: 104, rows: [[0]] })
  t.strictSame(counters.completed(104), { from: 105, rows: [] }, 'the newest row is not completed')
})

await t.test('rolling counters are empty after a gap longer than their window', async (t) => {
  const counters = new RollingCounters(4, 1, 0)
  counters.count(0)
  counters.advance(1_000_000)
  t.strictSame(counters.completed(-1), { from: 999_997, rows: [[0], [0], [0]] })
})

await t.test('rolling counters count in the newest row after an earlier slot was given', async (t) => {
  const counters = new RollingCounters(4, 1, 10)
  counters.advance(12)
  counters.advance(11)
  counters.count(0)
  counters.advance(13)
  t.strictSame(counters.completed(-1), { from: 10, rows: [[0], [0], [1]] })
})

await t.test('rolling counters agree with a list of all counts', async () => {
  const steps = fc.array(fc.record({ skip: fc.integer({ min: 0, max: 7 }), count: fc.nat(3) }), {
    maxLength: 40,
  })
  fc.assert(
    fc.property(steps, (steps) => {
      const counters = new RollingCounters(5, 1, 0)
      const all: number[] = [0]
      for (const { skip, count } of steps) {
        for (let i = 0; i < skip; i++) all.push(0)
        counters.advance(all.length - 1)
        for (let i = 0; i < count; i++) counters.count(0)
        all[all.length - 1] = (all.at(-1) as number) + count
      }
      deepStrictEqual(counters.completed(-1).rows.flat(), all.slice(-5, -1))
    }),
  )
})
