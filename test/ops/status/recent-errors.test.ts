import t from 'tap'
import { MAX_CLIENT_ERRORS, MAX_FAILURES, RecentErrors } from '../../../src/ops/status/recent-errors.ts'
import { TestClock } from '../../support/clock.ts'
import { failure } from './failure.ts'

await t.test('recent failures are kept up to a maximum, the newest first', async (t) => {
  const errors = new RecentErrors(new TestClock())
  for (let i = 1; i <= MAX_FAILURES + 50; i++) errors.observer.requestFailed?.(failure(`id-${i}`))
  t.equal(errors.failures.count, MAX_FAILURES + 50)
  t.strictSame(
    errors.failures.newest(3).map(({ number, trackingId }) => [number, trackingId]),
    [MAX_FAILURES + 50, MAX_FAILURES + 49, MAX_FAILURES + 48].map((i) => [i, `id-${i}`]),
  )
  t.equal(errors.failures.newest().length, MAX_FAILURES)
  t.strictSame(errors.find('id-50'), [], 'the oldest are dropped')
  t.equal(errors.find('id-51').length, 1)
})

await t.test('client errors do not displace failures', async (t) => {
  const errors = new RecentErrors(new TestClock())
  errors.observer.requestFailed?.(failure('limited', { status: 429 }))
  for (let i = 0; i < 5_000; i++) errors.observer.requestFailed?.(failure(`bad-${i}`, { status: 400 }))
  t.strictSame(
    errors.failures.newest().map(({ trackingId }) => trackingId),
    ['limited'],
  )
  t.equal(errors.clientErrors.newest().length, MAX_CLIENT_ERRORS)
  t.equal(errors.clientErrors.count, 5_000)
})

await t.test('a search by Tracking-ID finds failures and client errors, the newest first', async (t) => {
  const clock = new TestClock()
  const errors = new RecentErrors(clock)
  errors.observer.requestFailed?.(failure('x'))
  await clock.advance(1_000)
  errors.observer.requestFailed?.(failure('x', { status: 400 }))
  errors.observer.requestFailed?.(failure('y'))
  t.strictSame(
    errors.find('x').map(({ status }) => status),
    [400, 502],
  )
})

await t.test('a recent error has the details of the request, with texts of bounded length', async (t) => {
  const clock = new TestClock()
  const errors = new RecentErrors(clock)
  const details = {
    station: 's',
    traceId: 'a'.repeat(32),
    reason: 'r'.repeat(9_999),
    cause: new Error('c'.repeat(9_999)),
  }
  errors.observer.requestFailed?.(failure('x', details))
  t.strictSame(errors.failures.newest(), [
    {
      number: 1,
      at: clock.wall(),
      trackingId: 'x',
      traceId: 'a'.repeat(32),
      station: 's',
      code: 'UpstreamFailed',
      status: 502,
      reason: 'r'.repeat(200),
      cause: 'c'.repeat(200),
    },
  ])
})

await t.test('a recent error has null for absent details', async (t) => {
  const errors = new RecentErrors(new TestClock())
  errors.observer.requestFailed?.(failure('x', { reason: undefined, cause: 'no error' }))
  t.match(errors.failures.newest(), [{ station: null, traceId: null, reason: null, cause: null }])
})
