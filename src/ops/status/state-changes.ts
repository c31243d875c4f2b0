import type { Observer } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import { copyString } from '../../lib/copy-string.ts'
import { RingBuffer } from '../../lib/ring-buffer.ts'

/** A change of a state that lasts. */
export interface StateChange {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly change: string
  readonly detail: string | null
}

export const MAX_CHANGES = 100
/** In characters. */
const MAX_DETAIL_LENGTH = 200

/** The latest changes of states, each as a short phrase with a detail. */
export class StateChanges {
  readonly changes = new RingBuffer<StateChange>(MAX_CHANGES)
  readonly observer: Partial<Observer>
  readonly #clock: Pick<Clock, 'wall'>
  #isClosed = true

  constructor(clock: Pick<Clock, 'wall'>) {
    this.#clock = clock
    this.#add('started')
    this.observer = {
      circuitChanged: (state, { lastError } = {}) => {
        if (state === 'closed') this.#add('circuit breaker closed')
        else if (this.#isClosed) this.#add('circuit breaker opened', lastError)
        this.#isClosed = state === 'closed'
      },
      upstreamRejected: ({ diagnosis }) => this.#add('upstream rejects calls', diagnosis),
      upstreamRecovered: () => this.#add('upstream accepts calls again'),
      sharedCacheChanged: (up, reason) =>
        up ? this.#add('shared cache connected') : this.#add('shared cache unavailable', reason),
      purgePending: () => this.#add('purge kept', 'the shared cache is unavailable'),
      purgeApplied: () => this.#add('kept purges applied'),
      quotaTooSmall: ({ stations, callsNeeded, quota }) =>
        this.#add('quota too small', `${stations} stations need ${callsNeeded} calls, ${quota} is allowed`),
      quotaSpent: (percent, remaining) => this.#add(`${percent} % of the quota used`, `${remaining} left`),
      keyRotated: () => this.#add('upstream API key reloaded'),
      keyReloadFailed: (reason) => this.#add('upstream API key not reloaded', reason),
      clientsChanged: (names) => this.#add('client keys reloaded', names.join(', ')),
      clientsReloadFailed: (reason) => this.#add('client keys not reloaded', reason),
    }
  }

  #add(change: string, detail?: string): void {
    const text = detail === undefined ? null : copyString(detail.slice(0, MAX_DETAIL_LENGTH))
    this.changes.push({ at: this.#clock.wall(), change, detail: text })
  }
}
