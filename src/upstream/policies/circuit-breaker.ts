import { ServiceError } from '../../errors.ts'
import type { CircuitDetails, CircuitState, Observer } from '../../events.ts'
import { backoffMs } from '../../lib/backoff.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Policy } from '../../source.ts'
import type { CircuitOutcome } from '../outcomes.ts'
import { circuitOutcome } from '../outcomes.ts'

export interface CircuitBreakerDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly observer: Pick<Observer, 'circuitChanged' | 'upstreamHeldBack'>
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

  /** Whether a call would be rejected now: neither while it is closed, nor when a probe is due. */
  get isBlocking(): boolean {
    if (this.#state.name === 'open') return this.#clock.now() < this.#state.until
    return this.#state.name === 'half_open' && this.#state.probing
  }

  readonly policy: Policy = (next) => async (id, options) => {
    const isProbe = this.#admit() === 'probe'
    const generation = this.#generation
    const record = (outcome: CircuitOutcome, error?: unknown) => {
      if (isProbe) this.#recordProbe(outcome, error)
      else if (generation === this.#generation) this.#record(outcome, error)
    }
    try {
      const availability = await next(id, isProbe ? { ...options, isProbe } : options)
      record('success')
      return availability
    } catch (error) {
      record(circuitOutcome(error), error)
      throw error
    }
  }

  /** @throws ServiceError UpstreamUnavailable when nothing may be sent now */
  #admit(): 'call' | 'probe' {
    if (this.#state.name === 'closed') return 'call'
    if (this.#state.name === 'open') {
      const leftMs = this.#state.until - this.#clock.now()
      if (leftMs > 0) throw this.#heldBack(leftMs)
    } else if (this.#state.probing) throw this.#heldBack(PROBE_RETRY_AFTER_MS)
    this.#become({ name: 'half_open', openings: this.#state.openings, probing: true })
    return 'probe'
  }

  #heldBack(retryAfterMs: number): ServiceError {
    this.#observer.upstreamHeldBack('circuit')
    return new ServiceError('UpstreamUnavailable', { reason: 'the circuit is open', retryAfterMs })
  }

  #record(outcome: CircuitOutcome, error: unknown): void {
    if (this.#state.name !== 'closed' || outcome === 'ignored') return
    const last = [...this.#state.last, outcome].slice(-CALLS_COUNTED)
    const failures = last.filter((one) => one === 'failure').length
    if (failures < FAILURES_TO_OPEN) this.#become({ name: 'closed', last })
    else this.#open(1, error)
  }

  #recordProbe(outcome: CircuitOutcome, error: unknown): void {
    if (this.#state.name !== 'half_open') return
    if (outcome === 'success') this.#become({ name: 'closed', last: [] })
    else if (outcome === 'failure') this.#open(this.#state.openings + 1, error)
    else this.#become({ ...this.#state, probing: false })
  }

  #open(openings: number, error: unknown): void {
    this.#generation++
    const probeInMs = backoffMs(INITIAL_OPEN_MS, MAX_OPEN_MS, openings)
    const until = this.#clock.now() + probeInMs
    this.#become({ name: 'open', until, openings }, { lastError: describe(error), probeInMs })
  }

  #become(state: State, details: CircuitDetails = {}): void {
    const changed = state.name !== this.#state.name
    this.#state = state
    if (changed) this.#observer.circuitChanged(state.name, details)
  }
}

/** The internal reason of an error, and its cause. */
function describe(error: unknown): string {
  if (!(error instanceof ServiceError)) return String(error)
  const { reason = error.message, cause } = error
  return cause instanceof Error ? `${reason}: ${cause.message}` : reason
}
