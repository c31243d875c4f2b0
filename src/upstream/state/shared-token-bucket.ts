import type { Clock } from '../../lib/clock.ts'
import { pause } from '../../lib/clock.ts'
import type { SentCall } from './sent-call.ts'
import type {
  LocalTokenBucket,
  NoToken,
  PassedCall,
  Token,
  TokenBucket,
  TokenBucketOptions,
  TokenRequest,
} from './token-bucket.ts'

/** A token of the store. */
export interface SharedToken {
  /** Until it can be used, in ms; more than was accepted if none was taken. */
  readonly waitMs: number
}

/** A time in which a store could not be reached, on this process' clock. */
export interface StoreOutage {
  readonly since: number
  /** Null while it lasts. */
  readonly until: number | null
}

/** One bucket for all replicas. Nothing here rejects, and nothing takes long. */
export interface TokenStore {
  /** The present outage of the store, or the last one; null if there was none. */
  readonly outage: StoreOutage | null
  /**
   * Takes a token that can be used within `maxWaitMs` and leaves `leave` tokens to others; null while the store cannot be
   * reached. If the store has lost the tokens that this replica took before, all of them count as just used.
   */
  take(bucket: TokenBucketOptions, leave: number, maxWaitMs: number): Promise<SharedToken | null>
  /**
   * Resolves when a call may be sent by what all replicas have really sent, and must be sent; with null if the store
   * cannot be asked. Absent: the store goes by what was planned.
   */
  pass?(bucket: TokenBucketOptions): Promise<SentCall | null>
  /** Processes that use the store, as last known. Absent: the store does not know. */
  readonly processes?: number
}

/** After the store could not be reached, for so long other replicas may still use their shares. */
const RETURN_MS = 6_500

export interface SharedTokenBucketDeps {
  readonly store: TokenStore
  readonly clock: Pick<Clock, 'now' | 'after'>
  /** The bucket of one of so many processes, for the time that the store cannot be reached. */
  readonly createLocal: (processes: number) => LocalTokenBucket
}

/**
 * The bucket that replicas share. The replica's own bucket records every token of the store, so that it is right at
 * once when the store cannot be reached. Then calls pause: other replicas may have sent the whole limit a moment before.
 */
export class SharedTokenBucket implements TokenBucket {
  readonly #bucket: TokenBucketOptions
  readonly #deps: SharedTokenBucketDeps
  #local: LocalTokenBucket
  /** Whose part `#local` is. */
  #processes = 1
  /** When the store did not reply for the first time since it last did, and for the last time. */
  #aloneSince: number | null = null
  #aloneAt = Number.NEGATIVE_INFINITY

  /** `bucket` holds all of the limit. */
  constructor(bucket: TokenBucketOptions, deps: SharedTokenBucketDeps) {
    this.#bucket = bucket
    this.#deps = deps
    this.#local = deps.createLocal(this.#processes)
  }

  async take(request: TokenRequest): Promise<Token | NoToken> {
    const { store } = this.#deps
    const { lowPriority, maxWaitMs } = request
    const leave = lowPriority ? this.#bucket.reserved : 0
    const shared = await store.take(this.#bucket, leave, maxWaitMs)
    this.#followProcesses(store.processes ?? 1)
    if (shared === null) {
      const waitMs = this.#local.waitMs(lowPriority, this.#beAlone())
      return waitMs > maxWaitMs ? { kind: 'none', waitMs } : this.#token(waitMs)
    }
    this.#aloneSince = null
    const waitMs = this.#isBack ? shared.waitMs : Math.max(shared.waitMs, this.#local.waitMs(lowPriority))
    return waitMs > maxWaitMs ? { kind: 'none', waitMs } : this.#token(waitMs)
  }

  #token(waitMs: number): Token {
    const bucket = this.#isBack ? this.#bucket : this.#local.options
    const pass = this.#deps.store.pass && (() => this.#pass())
    return { ...this.#local.takeIn(waitMs), bucket, ...(pass && { pass }) }
  }

  async #pass(): Promise<PassedCall> {
    let sent = await this.#askStore()
    const waitMs = sent === null ? this.#beAlone() : 0
    if (waitMs > 0) {
      await pause(this.#deps.clock, waitMs)
      sent = await this.#askStore() // it may have returned
    }
    const isShared = sent !== null && this.#isBack
    return { sent, bucket: isShared ? this.#bucket : this.#local.options }
  }

  async #askStore(): Promise<SentCall | null> {
    return (await this.#deps.store.pass?.(this.#bucket)) ?? null
  }

  get #isBack(): boolean {
    const now = this.#deps.clock.now()
    const { outage } = this.#deps.store
    const downAt = outage === null ? Number.NEGATIVE_INFINITY : (outage.until ?? now)
    return now - Math.max(this.#aloneAt, downAt) > RETURN_MS
  }

  /** Until this replica may send alone, in ms. A replica that has the whole limit does not wait. */
  #beAlone(): number {
    const now = this.#deps.clock.now()
    this.#aloneAt = now
    this.#aloneSince ??= now
    const { outage } = this.#deps.store
    const since = outage?.until === null ? outage.since : this.#aloneSince
    const { count, tokenReuseMs } = this.#local.options
    if (count === this.#bucket.count && tokenReuseMs === this.#bucket.tokenReuseMs) return 0
    return Math.max(0, since + this.#bucket.tokenReuseMs - now)
  }

  #followProcesses(processes: number): void {
    if (processes === this.#processes) return
    this.#processes = processes
    this.#local = this.#deps.createLocal(processes)
    this.#local.takeAll(0)
  }
}
