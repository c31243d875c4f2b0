import { ServiceError } from '../../errors.ts'
import type { CircuitState, Observer } from '../../events.ts'
import { backoffMs } from '../../lib/backoff.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Policy } from '../../source.ts'
import type { CircuitOutcome } from '../outcomes.ts'
import { circuitOutcome } from '../outcomes.ts'

export interface CircuitBreakerDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<Observer, 'circuitChanged'>
}

/** The circuit opens when this many of the last calls failed. */
const FAILURES_TO_OPEN = 5
const CALLS_COUNTED = 10
/** How long the circuit stays open: doubles with each probe in a row that fails. */
const INITIAL_OPEN_MS = 1_000
const MAX_OPEN_MS = 5_000
/** Retry-After while a probe is in flight. */
const PROBE_RETRY_AFTER_MS = 1_000

/** Each state carries only its own data. */
type State =
  | { readonly name: 'closed'; readonly last: readonly CircuitOutcome[] }
  /** `openings` counts how often the circuit opened in a row. */
  | { readonly name: 'open'; readonly until: number; readonly openings: number }
  | { readonly name: 'half_open'; readonly openings: number; readonly probing: boolean }

/**
 * Sends nothing to an upstream that fails. After a pause a single probe is sent: a success closes the circuit, a
 * failure opens it for longer, and an outcome that is ignored leaves it half-open for the next call to probe.
 */
export class CircuitBreaker {
  readonly #clock: CircuitBreakerDeps['clock']
  readonly #observer: CircuitBreakerDeps['observer']
  #state: State = { name: 'closed', last: [] }
  /** Openings since the start: a call that was sent before the last one is out of date. */
  #generation = 0

  constructor({ clock, observer }: CircuitBreakerDeps) {
    this.#clock = clock
    this.#observer = observer
  }

  get state(): CircuitState {
    return this.#state.name
  }

  readonly policy: Policy = (next) => async (id, options) => {
    const isProbe = this.#admit() === 'probe'
    const generation = this.#generation
    const record = (outcome: CircuitOutcome) => {
      if (isProbe) this.#recordProbe(outcome)
      else if (generation === this.#generation) this.#record(outcome)
    }
    try {
      const availability = await next(id, isProbe ? { ...options, isProbe } : options)
      record('success')
      return availability
    } catch (error) {
      record(circuitOutcome(error))
      throw error
    }
  }

  /** @throws ServiceError UpstreamUnavailable when nothing may be sent now */
  #admit(): 'call' | 'probe' {
    if (this.#state.name === 'closed') return 'call'
    if (this.#state.name === 'open') {
      const leftMs = this.#state.until - this.#clock.now()
      if (leftMs > 0) throw unavailable(leftMs)
    } else if (this.#state.probing) throw unavailable(PROBE_RETRY_AFTER_MS)
    this.#become({ name: 'half_open', openings: this.#state.openings, probing: true })
    return 'probe'
  }

  #record(outcome: CircuitOutcome): void {
    if (this.#state.name !== 'closed' || outcome === 'ignored') return
    const last = [...this.#state.last, outcome].slice(-CALLS_COUNTED)
    const failures = last.filter((one) => one === 'failure').length
    if (failures < FAILURES_TO_OPEN) this.#become({ name: 'closed', last })
    else this.#open(1)
  }

  #recordProbe(outcome: CircuitOutcome): void {
    if (this.#state.name !== 'half_open') return
    if (outcome === 'success') this.#become({ name: 'closed', last: [] })
    else if (outcome === 'failure') this.#open(this.#state.openings + 1)
    else this.#become({ ...this.#state, probing: false })
  }

  #open(openings: number): void {
    this.#generation++
    const until = this.#clock.now() + backoffMs(INITIAL_OPEN_MS, MAX_OPEN_MS, openings)
    this.#become({ name: 'open', until, openings })
  }

  #become(state: State): void {
    const changed = state.name !== this.#state.name
    this.#state = state
    if (changed) this.#observer.circuitChanged(state.name)
  }
}

function unavailable(retryAfterMs: number): ServiceError {
  return new ServiceError('UpstreamUnavailable', { reason: 'the circuit is open', retryAfterMs })
}
