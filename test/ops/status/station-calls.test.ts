import t from 'tap'
import { CallsByStation, MAX_STATIONS } from '../../../src/ops/status/station-calls.ts'

const HOUR = 3_600_000

function counted() {
  const clock = { ms: Date.UTC(2026, 0, 15, 20), wall: () => clock.ms }
  const calls = new CallsByStation(clock)
  const call = (id: string, times = 1) => {
    for (let i = 0; i < times; i++) calls.observer.stationCalled?.(id)
  }
  return { clock, calls, call }
}

await t.test('the stations that cost most calls are in order, as many as asked for', async (t) => {
  const { calls, call } = counted()
  call('a', 2)
  call('b', 5)
  call('c', 3)
  t.strictSame(calls.most(2), [
    { station: 'b', calls: 5 },
    { station: 'c', calls: 3 },
  ])
})

await t.test('calls are counted by UTC day', async (t) => {
  const { calls, call, clock } = counted()
  call('a')
  clock.ms += 4 * HOUR
  t.strictSame(calls.most(10), [])
  call('b')
  t.strictSame(calls.most(10), [{ station: 'b', calls: 1 }])
})

await t.test(
  'a station that costs many calls stays counted however many others are called for',
  async (t) => {
    const { calls, call } = counted()
    call('busy', 5)
    for (let i = 0; i < 3 * MAX_STATIONS; i++) call(`once-${i}`)
    t.strictSame(calls.most(1), [{ station: 'busy', calls: 5 }])
    t.ok(calls.most(10 * MAX_STATIONS).length <= MAX_STATIONS)
  },
)

await t.test('a station that begins to cost calls when all places are taken is counted', async (t) => {
  const { calls, call } = counted()
  for (let i = 0; i < MAX_STATIONS; i++) call(`twice-${i}`, 2)
  call('new', 3)
  t.strictSame(calls.most(1), [{ station: 'new', calls: 3 }])
})
