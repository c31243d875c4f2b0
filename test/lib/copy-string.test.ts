import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as fc from 'fast-check'
import t from 'tap'
import { parseQuery } from '../../src/availability/query.ts'
import { Answer } from '../../src/cache/answer.ts'
import { NegativeCache } from '../../src/cache/negative-cache.ts'
import { ServiceError } from '../../src/errors.ts'
import { createAdmission } from '../../src/http/admission.ts'
import { QueryCache } from '../../src/http/query-cache.ts'
import { RecentErrors } from '../../src/ops/status/recent-errors.ts'
import { CallsByStation } from '../../src/ops/status/station-calls.ts'
import { copyString } from '../../src/lib/copy-string.ts'
import { RejectedIds } from '../../src/upstream/policies/rejected-ids.ts'
import { TestClock } from '../support/clock.ts'
import { referenceStation } from '../support/stations.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/**
 * Bytes of heap that the results of `count` calls of `keep` hold. The functions that are called are compiled while they
 * are measured, and their code lies on the heap too, up to about a megabyte.
 */
function heapOf(count: number, keep: (number: number) => unknown): number {
  const kept: unknown[] = []
  collect()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < count; i++) kept.push(keep(i))
  collect()
  return process.memoryUsage().heapUsed - before + 0 * kept.length
}

const COUNT = 1_000
const LONG = 16_000
const longText = (number: number) => `${number}-`.padEnd(LONG, 'x')
/** A quarter of the texts, were they kept. */
const MAX_BYTES = (LONG * COUNT) / 4

await t.test('a copied string is equal to its original', async (t) => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.nat(20),
      (text, from) => copyString(text.slice(from)) === text.slice(from),
    ),
    { numRuns: 300, seed: 3 },
  )
  t.equal(copyString('a lone surrogate: \ud83d'), 'a lone surrogate: \ud83d')
})

await t.test('a copied string does not keep the string alive that it was cut from', async (t) => {
  const slices = heapOf(COUNT, (i) => longText(i).slice(0, 100))
  t.ok(slices > (LONG * COUNT) / 2, `a slice does: ${slices} bytes`)
  const copies = heapOf(COUNT, (i) => copyString(longText(i).slice(0, 100)))
  t.ok(copies < MAX_BYTES, `${copies} bytes`)
})

await t.test('the negative cache keeps no query alive', async (t) => {
  const negativeCache = new NegativeCache({ negativeTtlMs: 60_000, clock: new TestClock() })
  const bytes = heapOf(COUNT, (i) => {
    const { id } = parseQuery(`chargingAvailability=id-of-a-station-${i}&padding=${longText(i)}`)
    negativeCache.record(id, new ServiceError('NotFound'))
  })
  t.ok(negativeCache.hasNegative('id-of-a-station-7'))
  t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
})

await t.test('unknown ids that were rejected keep no query alive', async (t) => {
  const ids = new RejectedIds(new TestClock())
  const bytes = heapOf(COUNT, (i) => {
    ids.add(parseQuery(`chargingAvailability=id-of-a-station-${i}&padding=${longText(i)}`).id)
  })
  t.notOk(ids.isAskedAgain('id-of-a-station-7'), 'not a minute later')
  t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
})

await t.test('stations whose calls are counted keep no query alive', async (t) => {
  const calls = new CallsByStation(new TestClock())
  const bytes = heapOf(COUNT, (i) => {
    calls.observer.stationCalled?.(
      parseQuery(`chargingAvailability=id-of-a-station-${i}&padding=${longText(i)}`).id,
    )
  })
  t.equal(calls.most(COUNT).length, COUNT)
  t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
})

await t.test('recent errors keep no request and no long text alive', async (t) => {
  const errors = new RecentErrors(new TestClock())
  const bytes = heapOf(COUNT, (i) => {
    const { id } = parseQuery(`chargingAvailability=id-of-a-station-${i}&padding=${longText(i)}`)
    errors.observer.requestFailed?.({
      trackingId: `tracking-id-${i}`,
      station: id,
      code: 'UpstreamFailed',
      status: 502,
      reason: longText(i),
      cause: new Error(longText(i)),
    })
  })
  t.equal(errors.failures.count, COUNT)
  t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
})

await t.test('the negative cache keeps no cause alive', async (t) => {
  const negativeCache = new NegativeCache({ negativeTtlMs: 60_000, clock: new TestClock() })
  const bytes = heapOf(COUNT, (i) => {
    const cause = Object.assign(new Error('not HTTP'), { data: longText(i) })
    negativeCache.record(
      `id-${i}`,
      new ServiceError('UpstreamFailed', { reason: longText(i).slice(0, 50), cause }),
    )
  })
  t.match(negativeCache.get('id-7'), { code: 'UpstreamFailed', reason: /^7-x+$/ })
  t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
})

await t.test('the negative cache keeps nothing alive of the place where an error was made', async (t) => {
  class Reader {
    readonly rows: number[]
    constructor(row: number) {
      this.rows = Array.from({ length: LONG / 8 }, () => row)
    }
    /** The stack of an error has `this` of each of its functions until somebody reads it. */
    fail(): ServiceError {
      return new ServiceError('UpstreamFailed', { reason: 'not an answer' })
    }
  }
  const negativeCache = new NegativeCache({ negativeTtlMs: 60_000, clock: new TestClock() })
  const bytes = heapOf(COUNT, (i) => {
    negativeCache.record(`id-${i}`, new Reader(i).fail())
  })
  t.match(negativeCache.get('id-7'), { code: 'UpstreamFailed' })
  t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
})

await t.test('remembered filters keep no request alive', async (t) => {
  const queries = new QueryCache(COUNT)
  const bytes = heapOf(COUNT, (i) => {
    const target = `${longText(i)}?chargingAvailability=a&connectorSet=IEC62196Type2Outlet${i}`
    queries.read(target.slice(target.indexOf('?') + 1))
  })
  t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
})

await t.test('the windows of clients keep no X-Forwarded-For header alive', async (t) => {
  const options = { perSecond: 100_000, maxInFlight: 0 }
  const deps = {
    clients: null,
    clock: new TestClock(),
    observer: { clientIdentified: () => {}, clientLimited: () => {} },
  }
  const admit = await createAdmission(options, deps)
  const bytes = heapOf(COUNT, (i) => {
    const address =
      i % 2 === 0 ? `192.100.${100 + (i >> 8)}.${100 + (i & 127)}` : `2001:db8:1111:${i}:3333::1`
    const header = `${longText(i)},${address}`
    const raw = { headers: {}, socket: {} }
    admit?.({ raw, ip: header.slice(header.indexOf(',') + 1) } as unknown as Parameters<typeof admit>[0])
  })
  t.ok(bytes < MAX_BYTES, `${bytes} bytes`)
})

await t.test('the bytes of an answer include the keys of its variants', async (t) => {
  const reference = referenceStation('a')
  const [connector] = reference.connectors
  const wide = { ...reference, connectors: Array.from({ length: 2_000 }, () => connector as never) }
  const answer = new Answer(wide)
  const filter = (minPowerKW: number) => ({ types: null, minPowerKW, maxPowerKW: null })
  answer.render(filter(1_000), 'json', false)
  const before = answer.bytes
  const { length } = answer.render(filter(1_000), 'xml', false)
  const more = answer.bytes - before - length
  t.ok(more > 700, `${more} bytes beside the text, with a key of 740 characters`)
})
