import type { Clock } from '../../lib/clock.ts'
import type { Observer, RequestFailure } from '../../events.ts'
import { copyString } from '../../lib/copy-string.ts'
import { isClientError } from './request-history.ts'

/** A request that ended in an error, as it is remembered. */
export interface Failure {
  /** Rises by one with each of its kind. */
  readonly number: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly trackingId: string
  readonly traceId: string | null
  /** Null where no valid id was asked for. */
  readonly station: string | null
  readonly code: string
  readonly status: number
  readonly reason: string | null
  readonly cause: string | null
}

/** Failures are what somebody on call looks for; what clients got wrong is kept apart, and less of it. */
export const FAILURES_KEPT = 1_000
export const REFUSALS_KEPT = 200

/** A text of this many characters tells enough, and the log has all of it. Memory is bounded by it: bench/parts/page.mjs. */
const LONGEST_TEXT = 200

/** The requests that failed last, and beside them those that clients got wrong: neither pushes the other out. */
export class RecentErrors {
  /** Status 429 and from 500 up. */
  readonly failed = new Recent(FAILURES_KEPT)
  /** Every other 4xx. */
  readonly refused = new Recent(REFUSALS_KEPT)
  readonly observer: Partial<Observer>

  constructor(clock: Pick<Clock, 'wall'>) {
    this.observer = {
      requestFailed: (failure) => {
        const kind = isClientError(failure.status) ? this.refused : this.failed
        kind.add(remembered(failure, clock.wall()))
      },
    }
  }

  /** What is remembered under a Tracking-ID, the newest first. A client may use one for many requests. */
  find(trackingId: string): Failure[] {
    return [...this.failed.find(trackingId), ...this.refused.find(trackingId)].toSorted((a, b) => b.at - a.at)
  }
}

/** A bounded list: the oldest leaves for the newest. */
class Recent {
  readonly #kept: Failure[] = []
  readonly #most: number
  #count = 0

  constructor(most: number) {
    this.#most = most
  }

  /** How many there have ever been; the number of the newest. */
  get count(): number {
    return this.#count
  }

  add(failure: Omit<Failure, 'number'>): void {
    this.#kept[this.#count % this.#most] = { ...failure, number: ++this.#count }
  }

  /** Those with a number above `number`, the newest first, `most` at the most. */
  newest(most: number, number = 0): Failure[] {
    const last = Math.max(number, this.#count - Math.min(most, this.#most))
    const found: Failure[] = []
    for (let n = this.#count; n > last; n--) found.push(this.#kept[(n - 1) % this.#most] as Failure)
    return found
  }

  /** The newest first. */
  find(trackingId: string): Failure[] {
    return this.newest(this.#most).filter((failure) => failure.trackingId === trackingId)
  }
}

function remembered(failure: RequestFailure, at: number): Omit<Failure, 'number'> {
  const { trackingId, traceId, station, code, status, reason, cause } = failure
  return {
    at,
    trackingId: copyString(trackingId),
    traceId: kept(traceId),
    station: kept(station),
    code,
    status,
    reason: kept(reason),
    cause: cause instanceof Error ? kept(cause.message) : null,
  }
}

function kept(text: string | undefined): string | null {
  return text === undefined ? null : copyString(text.slice(0, LONGEST_TEXT))
}
