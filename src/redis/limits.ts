import { randomUUID } from 'node:crypto'
import type { Account } from '../upstream/budget.ts'
import type { Bucket, SharedTokens } from '../upstream/rate-limit.ts'
import type { Ledger, Order } from '../upstream/shared-budget.ts'
import type { Commands } from './commands.ts'
import { SETTLE, TAKE_TOKEN } from './scripts.ts'

/** One bucket of tokens for all replicas, on the server's clock. */
export class RedisTokens implements SharedTokens {
  readonly #commands: Commands

  constructor(commands: Commands) {
    this.#commands = commands
  }

  async take({ count, roundTripMs }: Bucket, leave: number, maxWaitMs: number): Promise<number | null> {
    const reply = await this.#commands.script(TAKE_TOKEN, ['tokens'], [count, roundTripMs, leave, maxWaitMs])
    return reply === undefined ? null : Number(reply)
  }
}

/** One account for all replicas, on the server's clock; it outlives every one of them. */
export class RedisLedger implements Ledger {
  readonly #commands: Commands
  readonly #replica = randomUUID()

  constructor(commands: Commands) {
    this.#commands = commands
  }

  get isUp(): boolean {
    return this.#commands.isUp
  }

  async settle(order: Order): Promise<(Account & { readonly waitMs: number }) | null> {
    const { change, known, spentAlone } = order
    const reply = await this.#commands.script(
      SETTLE,
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
        spentAlone.told,
        ...order.periodEnds,
      ],
    )
    if (!Array.isArray(reply)) return null
    const [waitMs = 0, spent = 0, released = 0, resetAtMs = 0] = reply.map(Number)
    return { waitMs, spent, released, resetAtMs }
  }
}
