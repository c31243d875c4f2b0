import type { Clock } from '../../lib/clock.ts'
import type { SentCall } from './sent-call.ts'
import type {
  LocalTokenBucket,
  NoToken,
  Token,
  TokenBucket,
  TokenBucketOptions,
  TokenRequest,
} from './token-bucket.ts'

/** A token of the store. */
export interface SharedToken {
  /** Until it can be used, in ms; more than was accepted if none was taken. */
  readonly waitMs: number
  /**
   * Resolves when the call may be sent by what all replicas have really sent, and must be sent. Absent: the store goes by
   * what was planned.
   */
  readonly pass?: () => Promise<SentCall>
}

/** One bucket for all replicas. Nothing here rejects, and nothing takes long. */
export interface TokenStore {
  /**
   * Takes a token that can be used within `maxWaitMs` and leaves `leave` tokens to others; null while the store cannot be
   * reached. If the store has lost the tokens that this replica took before, all of them count as just used.
   */
  take(bucket: TokenBucketOptions, leave: number, maxWaitMs: number): Promise<SharedToken | null>
}

/** After the store could not be reached, for so long other replicas may still use their shares. */
const RETURN_MS = 6_000

/**
 * The bucket that replicas share. The replica's own bucket records every token of the store, so that it is right at
 * once when the store cannot be reached.
 */
export class SharedTokenBucket implements TokenBucket {
  readonly #store: TokenStore
  readonly #bucket: TokenBucketOptions
  readonly #local: LocalTokenBucket
  readonly #clock: Pick<Clock, 'now'>
  #aloneAt = Number.NEGATIVE_INFINITY

  /** `local` holds this replica's share of the limit, `bucket` all of it. */
  constructor(
    store: TokenStore,
    bucket: TokenBucketOptions,
    local: LocalTokenBucket,
    clock: Pick<Clock, 'now'>,
  ) {
    this.#store = store
    this.#bucket = bucket
    this.#local = local
    this.#clock = clock
  }

  async take(request: TokenRequest): Promise<Token | NoToken> {
    const { lowPriority, maxWaitMs } = request
    const leave = lowPriority ? this.#bucket.reserved : 0
    const shared = await this.#store.take(this.#bucket, leave, maxWaitMs)
    if (shared === null) {
      this.#aloneAt = this.#clock.now()
      return this.#local.take(request)
    }
    const isBack = this.#clock.now() - this.#aloneAt > RETURN_MS
    const waitMs = isBack ? shared.waitMs : Math.max(shared.waitMs, this.#local.waitMs(lowPriority))
    if (waitMs > maxWaitMs) return { kind: 'none', waitMs }
    const token = this.#local.takeIn(waitMs)
    const { pass } = shared
    return { ...token, ...(isBack && { bucket: this.#bucket }), ...(pass && { pass }) }
  }
}
