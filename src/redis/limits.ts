import { randomUUID } from 'node:crypto'
import type { QuotaUsage } from '../upstream/state/quota-ledger.ts'
import type { TokenBucketOptions, TokenStore } from '../upstream/policies/rate-limit.ts'
import type { QuotaStore, QuotaUpdate } from '../upstream/state/shared-quota.ts'
import type { Commands } from './commands.ts'
import { QUOTA_UPDATE, TAKE_TOKEN } from './scripts.ts'

/** One bucket of tokens for all replicas, on the server's clock. */
export class RedisTokenStore implements TokenStore {
  readonly #commands: Commands

  constructor(commands: Commands) {
    this.#commands = commands
  }

  async take(
    { count, roundTripMs }: TokenBucketOptions,
    leave: number,
    maxWaitMs: number,
  ): Promise<number | null> {
    const reply = await this.#commands.script(TAKE_TOKEN, ['tokens'], [count, roundTripMs, leave, maxWaitMs])
    return reply === undefined ? null : Number(reply)
  }
}

/** One account for all replicas, on the server's clock; it outlives every one of them. */
export class RedisQuotaStore implements QuotaStore {
  readonly #commands: Commands
  readonly #replica = randomUUID()

  constructor(commands: Commands) {
    this.#commands = commands
  }

  get isUp(): boolean {
    return this.#commands.isUp
  }

  async apply(order: QuotaUpdate): Promise<(QuotaUsage & { readonly waitMs: number }) | null> {
    const { change, lastSeen: known, unreported: spentAlone } = order
    const reply = await this.#commands.script(
      QUOTA_UPDATE,
      [`quota:${order.per}`],
      [
        order.limit,
        order.initial,
        { none: 'none', take: 'take', 'give back': 'give' }[change.kind],
        change.kind === 'take' ? (change.leave ?? '') : '',
        change.kind === 'give back' ? change.periodEndsAtMs : 0,
        this.#replica,
        spentAlone.calls,
        spentAlone.periodEndsAtMs,
        known.spent,
        known.periodEndsAtMs,
        spentAlone.reported,
        ...order.periodEnds,
      ],
    )
    if (!Array.isArray(reply)) return null
    const [waitMs = 0, spent = 0, released = 0, resetAtMs = 0] = reply.map(Number)
    return { waitMs, spent, released, resetAtMs }
  }
}
