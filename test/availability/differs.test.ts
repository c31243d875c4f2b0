import t from 'tap'
import { countsDiffer } from '../../src/availability/differs.ts'
import type { Availability } from '../../src/availability/model.ts'

function station(...connectors: [type: string, current: unknown][]): Availability {
  return {
    chargingAvailability: 'a',
    connectors: connectors.map(([type, current]) => ({ type, total: 2, availability: { current } })),
  }
}
const free = { available: 2, occupied: 0 }
const taken = { available: 1, occupied: 1 }

await t.test('two answers differ in the counts of a connector, and in nothing else', async (t) => {
  const pairs: [Availability, Availability][] = [
    [station(['A', free]), station(['A', free])],
    [station(['A', free]), station(['A', taken])],
    [station(['A', free]), station(['A', free], ['B', free])],
    [station(['A', free]), station(['B', free])],
    [station(['A', free], ['B', taken]), station(['A', taken], ['B', free])],
  ]
  t.strictSame(
    pairs.map(([before, after]) => countsDiffer(before, after)),
    [false, true, true, true, true],
  )
})

await t.test('order, unknown members and counts of zero do not make a difference', async (t) => {
  const before = station(['A', free], ['B', taken])
  const pairs: Availability[] = [
    { ...before, updatedAt: '2026-01-01T00:00:00Z' },
    station(['B', taken], ['A', free]),
    station(['A', { occupied: 0, available: 2 }], ['B', taken]),
    station(['A', { ...free, reserved: 0, comment: 'x' }], ['B', taken]),
  ]
  t.strictSame(
    pairs.map((after) => countsDiffer(before, after)),
    [false, false, false, false],
  )
})

await t.test('a connector without counts equals another without counts', async (t) => {
  t.equal(countsDiffer(station(['A', undefined]), station(['A', null])), false)
  t.equal(countsDiffer(station(['A', undefined]), station(['A', free])), true)
})
