import t from 'tap'
import { RejectionState } from '../../../src/ops/status/upstream-rejection.ts'
import { TestClock } from '../../support/clock.ts'

await t.test('a rejection by upstream keeps its start when its diagnosis changes', async (t) => {
  const clock = new TestClock()
  const state = new RejectionState(clock)
  const since = clock.wall()
  state.observer.upstreamRejected?.({ status: 403, diagnosis: 'the key', waitMs: 5_000 })
  await clock.advance(10_000)
  state.observer.upstreamRejected?.({ status: undefined, diagnosis: 'the quota', waitMs: 5_000 })
  t.strictSame(state.current, {
    since,
    status: null,
    diagnosis: 'the quota',
    until: clock.wall() + 5_000,
  })
})

await t.test('a rejection by upstream lasts until the end of the pause in force', async (t) => {
  const clock = new TestClock()
  const state = new RejectionState(clock)
  state.observer.upstreamRejected?.({ status: 429, diagnosis: 'too many calls', waitMs: 5_000 })
  state.observer.coolDownStarted?.(5_000)
  await clock.advance(5_000)
  state.observer.coolDownStarted?.(10_000)
  t.equal(state.current?.until, clock.wall() + 10_000)
})

await t.test('a rejection by upstream ends when a call is accepted', async (t) => {
  const state = new RejectionState(new TestClock())
  state.observer.upstreamRejected?.({ status: 403, diagnosis: 'the key', waitMs: 5_000 })
  state.observer.upstreamRecovered?.()
  t.equal(state.current, null)
})

await t.test('a rejection by upstream ends when the key is reloaded', async (t) => {
  const state = new RejectionState(new TestClock())
  state.observer.upstreamRejected?.({ status: 403, diagnosis: 'the key', waitMs: 5_000 })
  state.observer.keyRotated?.()
  t.equal(state.current, null)
})
