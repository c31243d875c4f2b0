import type { Source } from '../../source.ts'
import type { Clock } from '../../lib/clock.ts'
import { ServiceError } from '../../errors.ts'
import type { CircuitState, Observer } from '../../events.ts'
import { circuitOutcome } from '../outcomes.ts'

export interface Breaker {
  readonly source: Source
  readonly state: () => CircuitState
}

export interface CircuitBreakerDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<Observer, 'circuitChanged'>
}

/** The circuit opens when so many of the last calls failed. */
const FAILURES_TO_OPEN = 5
const OF_THE_LAST = 10
/** How long it stays open: the first time, doubling to the longest while the probes fail. */
const FIRST_OPEN_MS = 1_000
const LONGEST_OPEN_MS = 5_000

type Verdict = ReturnType<typeof circuitOutcome>

/** Each state carries what belongs to it alone. */
type State =
  | { readonly name: 'closed'; readonly last: readonly Verdict[] }
  | { readonly name: 'open'; readonly until: number; readonly openMs: number }
  | { readonly name: 'half_open'; readonly openMs: number; readonly probing: boolean }

/**
 * Spares an upstream that fails: while the circuit is open nothing is sent. Then one call goes out to see, and
 * whatever becomes of it, its place is free again afterwards: a call that told nothing (it was throttled, or never
 * sent) leaves the next one to try. Throttling counts neither for nor against upstream.
 */
export function withBreaker(inner: Source, { clock, observer }: CircuitBreakerDeps): Breaker {
  let state: State = { name: 'closed', last: [] }
  let openings = 0

  const become = (next: State) => {
    const changed = next.name !== state.name
    state = next
    if (changed) observer.circuitChanged(next.name)
  }

  /** @throws ServiceError UpstreamUnavailable when nothing may be sent now */
  const admit = (): 'call' | 'probe' => {
    if (state.name === 'closed') return 'call'
    if (state.name === 'open') {
      if (clock.now() < state.until) throw unavailable(state.until - clock.now())
      become({ name: 'half_open', openMs: state.openMs, probing: false })
    }
    const { openMs, probing } = state as Extract<State, { name: 'half_open' }>
    if (probing) throw unavailable(FIRST_OPEN_MS)
    become({ name: 'half_open', openMs, probing: true })
    return 'probe'
  }

  const afterCall = (verdict: Verdict, openingsBefore: number) => {
    if (openings !== openingsBefore) return // late: it was sent before the circuit opened
    if (state.name !== 'closed' || verdict === 'unknown') return
    const last = [...state.last, verdict].slice(-OF_THE_LAST)
    const failures = last.filter((one) => one === 'failing').length
    become(failures < FAILURES_TO_OPEN ? { name: 'closed', last } : open(FIRST_OPEN_MS))
  }

  const afterProbe = (verdict: Verdict) => {
    if (state.name !== 'half_open') return
    if (verdict === 'alive') become({ name: 'closed', last: [] })
    else if (verdict === 'failing') become(open(Math.min(state.openMs * 2, LONGEST_OPEN_MS)))
    else become({ ...state, probing: false })
  }

  const open = (openMs: number): State => {
    openings++
    return { name: 'open', until: clock.now() + openMs, openMs }
  }

  const source: Source = async (id, call) => {
    const isProbe = admit() === 'probe'
    const openingsBefore = openings
    const report = (verdict: Verdict) => {
      if (isProbe) afterProbe(verdict)
      else afterCall(verdict, openingsBefore)
    }
    try {
      const availability = await inner(id, isProbe ? { ...call, isProbe } : call)
      report('alive')
      return availability
    } catch (error) {
      report(circuitOutcome(error))
      throw error
    }
  }
  return { source, state: () => state.name }
}

function unavailable(retryAfterMs: number): ServiceError {
  return new ServiceError('UpstreamUnavailable', { reason: 'the circuit is open', retryAfterMs })
}
