import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as fc from 'fast-check'
import t from 'tap'
import { parseQuery } from '../../src/availability/query.ts'
import { NegativeCache } from '../../src/cache/negative-cache.ts'
import { ServiceError } from '../../src/errors.ts'
import { RecentErrors } from '../../src/ops/status/recent-errors.ts'
import { copyString } from '../../src/lib/copy-string.ts'
import { TestClock } from '../support/clock.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes of heap that are still held after so many calls of `keep`. */
function heldBy(count: number, keep: (number: number) => unknown): number {
  const kept: unknown[] = []
  collect()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < count; i++) kept.push(keep(i))
  collect()
  return process.memoryUsage().heapUsed - before + 0 * kept.length
}

const COUNT = 1_000
const LONG = 10_000
const longText = (number: number) => `${number}-`.padEnd(LONG, 'x')
const MOST = 1_500 * COUNT

await t.test('an own text is the same text', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(20), (text, from) => {
      t.equal(copyString(text.slice(from)), text.slice(from))
    }),
    { numRuns: 300, seed: 3 },
  )
  t.equal(copyString('half a pair: \ud83d'), 'half a pair: \ud83d')
})

await t.test('an own text keeps nothing else alive', async (t) => {
  const slices = heldBy(COUNT, (i) => longText(i).slice(0, 100))
  t.ok(slices > (LONG * COUNT) / 2, `a slice does (${slices} bytes): else this could not fail`)
  const own = heldBy(COUNT, (i) => copyString(longText(i).slice(0, 100)))
  t.ok(own < MOST, `${own} bytes`)
})

await t.test('ids that must not be asked for keep no query alive', async (t) => {
  const setbacks = new NegativeCache({ negativeTtlMs: 60_000, clock: new TestClock() })
  const held = heldBy(COUNT, (i) => {
    const { id } = parseQuery(`chargingAvailability=id-of-a-station-${i}&padding=${longText(i)}`)
    setbacks.record(id, new ServiceError('NotFound'))
  })
  t.ok(setbacks.hasNegative('id-of-a-station-7'))
  t.ok(held < MOST, `${held} bytes`)
})

await t.test('failures that are remembered keep no request and no long text alive', async (t) => {
  const failures = new RecentErrors(new TestClock())
  const held = heldBy(COUNT, (i) => {
    const { id } = parseQuery(`chargingAvailability=id-of-a-station-${i}&padding=${longText(i)}`)
    failures.observer.requestFailed?.({
      trackingId: `tracking-id-${i}`,
      station: id,
      code: 'UpstreamFailed',
      status: 502,
      reason: longText(i),
      cause: new Error(longText(i)),
    })
  })
  t.equal(failures.failures.count, COUNT)
  t.ok(held < MOST, `${held} bytes`)
})
