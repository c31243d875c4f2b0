import t from 'tap'
import { ServiceError, UnknownIdError } from '../../src/errors.ts'
import { concernsAllStations, mayBeOfQueue, retryInMs } from '../../src/watch/refresh-error.ts'

const TIMES = { ttlMs: 30_000, emptyTtlMs: 60_000 }

await t.test('what the limits reject concerns all stations, an unknown id only itself', (t) => {
  const ofAll = ['TooManyRequests', 'UpstreamUnavailable', 'QuotaExhausted', 'UpstreamRefused'] as const
  const ofOne = [
    'UpstreamFailed',
    'UpstreamTimeout',
    'NotFound',
    'InvalidParameter',
    'InternalError',
  ] as const
  t.strictSame(
    [...ofAll, ...ofOne].filter((code) => concernsAllStations(new ServiceError(code))),
    ofAll,
  )
  t.equal(concernsAllStations(new UnknownIdError(1)), false)
  t.end()
})

await t.test('a 429 with a short wait may be of the queue', (t) => {
  const after = (retryAfterMs: number) => mayBeOfQueue(new ServiceError('TooManyRequests', { retryAfterMs }))
  t.strictSame([after(1_000), after(3_000), after(3_001)], [true, true, false])
  t.equal(mayBeOfQueue(new ServiceError('QuotaExhausted', { retryAfterMs: 1_000 })), false)
  t.end()
})

await t.test('a failed station is asked again after its back-off, its negative TTL or the TTL', (t) => {
  const retry = (error: ServiceError, failures: number, hasAnswer = false) =>
    retryInMs(error, { failures, hasAnswer }, TIMES)
  const failed = new ServiceError('UpstreamFailed')
  t.strictSame([retry(failed, 1), retry(failed, 2), retry(failed, 9)], [1_000, 2_000, 10_000])
  t.equal(retry(failed, 1, true), 30_000, 'with an answer not before the TTL')
  t.equal(retry(new ServiceError('NotFound'), 1), 60_000)
  t.equal(retry(new UnknownIdError(3_600_000), 5), 61_000)
  t.end()
})
