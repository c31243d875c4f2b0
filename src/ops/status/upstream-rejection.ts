import type { Clock } from '../../lib/clock.ts'
import type { Observer } from '../../events.ts'

/** Upstream refuses our calls, as it is told to the operator. */
export interface CurrentRejection {
  /** Since when, in ms since the epoch. */
  readonly since: number
  readonly status: number | null
  /** What is most likely behind it, and what to do. */
  readonly diagnosis: string
  /** The end of the first cool-down, in ms since the epoch; later ones are as long or longer. */
  readonly until: number
}

/** Whether upstream refuses our calls at the moment, and why. A new key has not been refused yet. */
export class RejectionState {
  refusal: CurrentRejection | null = null
  readonly observer: Partial<Observer>

  constructor(clock: Pick<Clock, 'wall'>) {
    this.observer = {
      upstreamRejected: ({ status, diagnosis, waitMs }) => {
        const now = clock.wall()
        const since = this.refusal?.since ?? now
        this.refusal = { since, status: status ?? null, diagnosis, until: now + waitMs }
      },
      upstreamRecovered: () => this.#over(),
      keyRotated: () => this.#over(),
    }
  }

  #over(): void {
    this.refusal = null
  }
}
