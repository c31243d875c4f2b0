import type { Observer } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'

/** A rejection by upstream that is still in effect. */
export interface CurrentRejection {
  /** The first rejected call, in ms since the epoch. */
  readonly since: number
  readonly status: number | null
  /** The most likely cause and what to do. */
  readonly diagnosis: string
  /** The end of the cool-down in force, in ms since the epoch. */
  readonly until: number
}

/** The current rejection by upstream. A reloaded key ends it, because upstream has not rejected that key yet. */
export class RejectionState {
  /** Null while upstream accepts calls. */
  current: CurrentRejection | null = null
  readonly observer: Partial<Observer>

  constructor(clock: Pick<Clock, 'wall'>) {
    const clear = () => {
      this.current = null
    }
    this.observer = {
      upstreamRejected: ({ status, diagnosis, waitMs }) => {
        const now = clock.wall()
        const since = this.current?.since ?? now
        this.current = { since, status: status ?? null, diagnosis, until: now + waitMs }
      },
      coolDownStarted: (waitMs) => {
        if (this.current !== null) this.current = { ...this.current, until: clock.wall() + waitMs }
      },
      upstreamRecovered: clear,
      keyRotated: clear,
    }
  }
}
