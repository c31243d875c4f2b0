import { randomUUID } from 'node:crypto'
import type { QuotaReply, QuotaStore, QuotaUpdate } from '../upstream/state/quota-store.ts'
import type { Commands } from './commands.ts'
import { quotaClientsKey, quotaKey } from './keys.ts'
import { QUOTA_UPDATE } from './quota-script.ts'

/** No period is longer. */
const MAX_PERIOD_MS = 31 * 86_400_000

/** The quota usage that replicas share, on the server's clock. It outlives every replica. */
export class RedisQuotaStore implements QuotaStore {
  readonly #commands: Commands
  readonly #replica = randomUUID()
  /** Updates sent, and the last of them that was replied to. */
  #sent = 0
  #replied = 0

  constructor(commands: Commands) {
    this.#commands = commands
  }

  get isUp(): boolean {
    return this.#commands.isUp
  }

  async apply(update: QuotaUpdate): Promise<QuotaReply | null> {
    const { change, lastSeen, unreported, made, per } = update
    const [client, clientLimit] = clientOf(change)
    const number = ++this.#sent
    // In the order of the table at QUOTA_UPDATE.
    const args = [
      per,
      update.limit,
      change.kind,
      change.kind === 'acquire' ? (change.leave ?? '') : '',
      change.kind === 'refund' ? change.period : '',
      client,
      clientLimit,
      this.#replica,
      unreported.calls,
      unreported.reported,
      unreported.period ?? '',
      lastSeen?.account ?? '',
      lastSeen?.period ?? '',
      lastSeen?.charged ?? 0,
      lastSeen?.spent ?? 0,
      number,
      this.#replied,
      made.charged,
      made.refunded,
      made.period ?? '',
      change.kind === 'acquire' ? (change.client?.part ?? '') : '',
    ]
    const reply = await this.#commands.script(QUOTA_UPDATE, [quotaKey(per), quotaClientsKey(per)], args)
    const parsed = parseReply(reply, client !== '')
    if (parsed !== null) this.#replied = Math.max(this.#replied, number)
    return parsed
  }
}

function clientOf(change: QuotaUpdate['change']): [client: string, limit: number] {
  if (change.kind === 'acquire') return [change.client?.id ?? '', change.client?.limit ?? 0]
  return [change.kind === 'refund' ? (change.client ?? '') : '', 0]
}

const isInPeriod = (ms: number) => ms >= 0 && ms <= MAX_PERIOD_MS
const isCount = (count: number) => count >= 0 && count < Number.MAX_SAFE_INTEGER

/** Null for a reply that the script cannot have made. */
function parseReply(reply: unknown, hasClient: boolean): QuotaReply | null {
  if (!Array.isArray(reply) || reply.length !== 10) return null
  const [waitMs, holdMs, spent, charged, released, calls, endsAtMs, nowMs] = reply
    .slice(0, 8)
    .map(Number) as [number, number, number, number, number, number, number, number]
  const [name, account] = reply.slice(8).map(String) as [string, string]
  if (![waitMs, holdMs, endsAtMs - nowMs].every(isInPeriod)) return null
  if (![spent, charged, released, calls, nowMs].every(isCount)) return null
  const period = { name, endsAtMs }
  const clientCalls = hasClient ? calls : null
  return { period, account, spent, charged, released, waitMs, holdMs, clientCalls, nowMs }
}
