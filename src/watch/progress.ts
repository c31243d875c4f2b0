import type { Clock } from '../lib/clock.ts'

/** Any answer, be it of a client's request. */
const LAST_ANSWER_MS = 3_000
const LAST_REFRESH_MS = 30_000

/** Whether stations that wait for the rate limit are about to get their turn: answers and refreshes have come recently. */
export class Progress {
  readonly #clock: Pick<Clock, 'now'>
  #answeredAt = Number.NEGATIVE_INFINITY
  #refreshedAt = Number.NEGATIVE_INFINITY

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  answered(): void {
    this.#answeredAt = this.#clock.now()
  }

  refreshed(): void {
    this.#refreshedAt = this.#clock.now()
    this.#answeredAt = this.#refreshedAt
  }

  get isRecent(): boolean {
    const now = this.#clock.now()
    return now - this.#answeredAt < LAST_ANSWER_MS && now - this.#refreshedAt < LAST_REFRESH_MS
  }
}
