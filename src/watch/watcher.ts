import type { Answer } from '../cache/answer.ts'
import type { ServiceError } from '../errors.ts'

/** A station's answer that may be served now. */
export interface CurrentAnswer {
  readonly answer: Answer
  readonly ageMs: number
  /** Milliseconds left of the TTL; negative for a stale answer. */
  readonly ttlMs: number
  /** Seconds since the epoch; 0 if no change has been seen. */
  readonly changedAt: number
}

/** Gets every new answer of a station, changed or not, and every error while the station cannot be answered. */
export interface Watcher {
  /** Needs no events: the station is only kept fresh, after those that clients watch. */
  readonly isBackground?: boolean
  answered(current: CurrentAnswer): void
  failed(error: ServiceError): void
}
