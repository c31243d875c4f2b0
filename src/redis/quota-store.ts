import { randomUUID } from 'node:crypto'
import type { QuotaUsage } from '../upstream/state/quota-ledger.ts'
import type { QuotaStore, QuotaUpdate } from '../upstream/state/shared-quota.ts'
import type { Commands } from './commands.ts'
import { quotaKey } from './keys.ts'
import { QUOTA_UPDATE } from './scripts.ts'

/** The quota usage that replicas share, on the server's clock. It outlives every replica. */
export class RedisQuotaStore implements QuotaStore {
  readonly #commands: Commands
  readonly #replica = randomUUID()

  constructor(commands: Commands) {
    this.#commands = commands
  }

  get isUp(): boolean {
    return this.#commands.isUp
  }

  async apply(update: QuotaUpdate): Promise<(QuotaUsage & { readonly waitMs: number }) | null> {
    const { change, lastSeen, unreported } = update
    // In the order of the table at QUOTA_UPDATE.
    const args = [
      update.limit,
      update.initial,
      change.kind,
      change.kind === 'acquire' ? (change.leave ?? '') : '',
      change.kind === 'refund' ? change.periodEndsAtMs : 0,
      this.#replica,
      unreported.calls,
      unreported.reported,
      unreported.periodEndsAtMs,
      lastSeen.spent,
      lastSeen.periodEndsAtMs,
      ...update.periodEnds,
    ]
    const reply = await this.#commands.script(QUOTA_UPDATE, [quotaKey(update.per)], args)
    if (!Array.isArray(reply)) return null
    const [waitMs = 0, spent = 0, released = 0, resetAtMs = 0] = reply.map(Number)
    return { waitMs, spent, released, resetAtMs }
  }
}
