import type { Observer } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'

/** An outage of upstream: the circuit breaker is not closed. */
export interface CurrentOutage {
  /** In ms since the epoch, like `probeAt`. */
  readonly since: number
  /** The last error. */
  readonly reason: string | null
  /** When the next probe is sent; null while one is in flight. */
  readonly probeAt: number | null
}

/** The current outage by the circuit breaker. */
export class OutageState {
  /** Null while the circuit breaker is closed. */
  current: CurrentOutage | null = null
  readonly observer: Partial<Observer>

  constructor(clock: Pick<Clock, 'wall'>) {
    this.observer = {
      circuitChanged: (state, { lastError, probeInMs } = {}) => {
        const now = clock.wall()
        const { since = now, reason = null } = this.current ?? {}
        const probeAt = probeInMs === undefined ? null : now + probeInMs
        this.current = state === 'closed' ? null : { since, reason: lastError ?? reason, probeAt }
      },
    }
  }
}
