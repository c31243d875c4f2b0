import { ServiceError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Policy } from '../../source.ts'
import { circuitOutcome, UpstreamError } from '../outcomes.ts'
import type { CoolDownState } from '../state/cool-down-state.ts'
import { INITIAL_COOL_DOWN_MS } from '../state/cool-down-state.ts'
import { diagnose } from '../tomtom/diagnosis.ts'

export interface CoolDownPolicyDeps {
  readonly state: CoolDownState
  readonly clock: Pick<Clock, 'now'>
  /** The key in use: a changed one ends the cool-down. */
  readonly apiKey: () => string
}

/**
 * After a 429, 401 or 403 nothing is sent for a while: it concerns all stations, and further calls would make it worse.
 * Then a single probe is sent, and other calls are delayed until it has ended.
 */
export class CoolDown {
  readonly #deps: CoolDownPolicyDeps
  /** The last key that upstream accepted: when it is rejected later, it is hardly wrong. */
  #acceptedKey: string | null = null

  constructor(deps: CoolDownPolicyDeps) {
    this.#deps = deps
  }

  /** Rethrows a rejection as a plain ServiceError with the time until calls are sent again. */
  readonly policy: Policy = (next) => async (id, options) => {
    const { state, clock, apiKey } = this.#deps
    const key = apiKey()
    const admitting = state.admit(key)
    const admission = admitting instanceof Promise ? await admitting : admitting
    const startedAt = clock.now()
    try {
      const availability = await next(id, admission === 'probe' ? { ...options, isProbe: true } : options)
      this.#accept(key, startedAt)
      return availability
    } catch (error) {
      if (error instanceof UpstreamError && error.isRejection) throw this.#reject(error, key, startedAt)
      if (circuitOutcome(error) === 'success') this.#accept(key, startedAt)
      throw error
    } finally {
      if (admission === 'probe') state.endProbe(key)
    }
  }

  #accept(key: string, startedAt: number): void {
    this.#acceptedKey = key
    this.#deps.state.accept(key, startedAt)
  }

  #reject(error: UpstreamError, key: string, startedAt: number): ServiceError {
    const retryAfterMs = this.#waitMs(error, key, startedAt)
    const { code, reason } = error
    return new ServiceError(code, { retryAfterMs, ...(reason !== undefined && { reason }) })
  }

  #waitMs(error: UpstreamError, key: string, startedAt: number): number {
    const { code, upstreamStatus: status, retryAfterMs } = error
    // A key that was replaced meanwhile delays no calls.
    if (key !== this.#deps.apiKey()) return retryAfterMs ?? INITIAL_COOL_DOWN_MS
    const diagnosis = diagnose(error, this.#acceptedKey === key)
    return this.#deps.state.reject(key, { code, status, diagnosis, retryAfterMs, startedAt })
  }
}
