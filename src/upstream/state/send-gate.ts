import type { Clock } from '../../lib/clock.ts'
import { pause } from '../../lib/clock.ts'
import type { SentCall } from './sent-call.ts'
import type { TokenBucketOptions } from './token-bucket.ts'

type Rate = Pick<TokenBucketOptions, 'count' | 'tokenReuseMs'>

/**
 * The last check before a call is sent. Tokens are planned, and a process that was stopped, or a store that lost its
 * tokens, can make many plans due at once. The gate knows when this replica really sent its last calls, and lets calls
 * pass in the order in which they came.
 */
export class SendGate {
  readonly #clock: Pick<Clock, 'now' | 'after'>
  /** When the last calls were sent, or arrived if that is known: a ring that begins at the oldest. */
  readonly #times: number[]
  #oldest = 0
  #waiting = 0
  #lastTurn: Promise<unknown> = Promise.resolve()

  /** `max` is the largest `count` of any rate. */
  constructor(max: number, clock: Pick<Clock, 'now' | 'after'>) {
    this.#clock = clock
    this.#times = Array.from({ length: max }, () => Number.NEGATIVE_INFINITY)
  }

  /** How long a call will wait that is sent after `ahead` others, in ms. */
  waitMs({ count, tokenReuseMs }: Rate, ahead: number): number {
    return this.#untilMs({ count, tokenReuseMs }, ahead % count) + Math.floor(ahead / count) * tokenReuseMs
  }

  /**
   * Resolves at the moment at which the call may be sent and must be sent. Without a wait it is no promise. After a wait
   * the permission of a store is old: `renew` asks for another and resolves with the rate that it is for.
   */
  pass(rate: Rate, renew?: () => Promise<Rate>): SentCall | Promise<SentCall> {
    return this.#waiting === 0 && this.#untilMs(rate, 0) <= 0 ? this.#send() : this.#wait(rate, renew)
  }

  #wait(rate: Rate, renew?: () => Promise<Rate>): Promise<SentCall> {
    const before = this.#lastTurn
    const turn = this.#takeTurn(before, rate, renew)
    this.#lastTurn = turn
    return turn
  }

  /** The store is asked within the turn: calls that wait for it would be sent together. */
  async #takeTurn(before: Promise<unknown>, rate: Rate, renew?: () => Promise<Rate>): Promise<SentCall> {
    this.#waiting++
    await before
    let renewed = rate
    do {
      await this.#pause(renewed)
      if (renew !== undefined) renewed = await renew()
    } while (this.#untilMs(renewed, 0) > 0)
    this.#waiting--
    return this.#send()
  }

  async #pause(rate: Rate): Promise<void> {
    for (let ms = this.#untilMs(rate, 0); ms > 0; ms = this.#untilMs(rate, 0)) {
      await pause(this.#clock, ms)
    }
  }

  /** Until a call may be sent after `ahead` others, which are fewer than `count`; 0 or less if it may. */
  #untilMs({ count, tokenReuseMs }: Rate, ahead: number): number {
    const size = this.#times.length
    const index = (this.#oldest + size - count + ahead) % size
    return Math.max(0, (this.#times[index] as number) + tokenReuseMs - this.#clock.now())
  }

  #send(): SentCall {
    const index = this.#oldest
    this.#oldest = (index + 1) % this.#times.length
    const sentAt = this.#clock.now()
    this.#times[index] = sentAt
    return {
      arrived: () => {
        if (this.#times[index] === sentAt) this.#times[index] = this.#clock.now()
      },
    }
  }
}
