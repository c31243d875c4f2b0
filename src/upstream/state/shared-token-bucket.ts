import type { NoToken, Token, TokenBucket, TokenBucketOptions, TokenRequest } from './token-bucket.ts'
import type { LocalTokenBucket } from './token-bucket.ts'

/** One bucket for all replicas. Nothing here rejects, and nothing takes long. */
export interface TokenStore {
  /**
   * Takes a token that can be used within `maxWaitMs` and leaves `leave` tokens to others. The ms until it can be used;
   * more than `maxWaitMs` if none was taken; null while the store cannot be reached.
   */
  take(bucket: TokenBucketOptions, leave: number, maxWaitMs: number): Promise<number | null>
}

/**
 * The bucket that replicas share. The replica's own bucket records every token of the store, so that it is right at
 * once when the store cannot be reached.
 */
export class SharedTokenBucket implements TokenBucket {
  readonly #store: TokenStore
  readonly #bucket: TokenBucketOptions
  readonly #local: LocalTokenBucket

  /** `local` holds this replica's share of the limit, `bucket` all of it. */
  constructor(store: TokenStore, bucket: TokenBucketOptions, local: LocalTokenBucket) {
    this.#store = store
    this.#bucket = bucket
    this.#local = local
  }

  async take(request: TokenRequest): Promise<Token | NoToken> {
    const leave = request.lowPriority ? this.#bucket.reserved : 0
    const waitMs = await this.#store.take(this.#bucket, leave, request.maxWaitMs)
    if (waitMs === null) return this.#local.take(request)
    if (waitMs > request.maxWaitMs) return { kind: 'none', waitMs }
    return { ...this.#local.takeIn(waitMs), extraWaitMs: () => 0 }
  }
}
