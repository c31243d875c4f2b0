import { RedisAnswers } from './answers.ts'
import type { CommandsParts } from './commands.ts'
import { Commands } from './commands.ts'
import { RedisLedger, RedisTokens } from './limits.ts'
import { RedisRefusals } from './refusals.ts'
import type { RedisTarget } from './target.ts'

/** All that replicas share, on one Redis or Valkey. */
export interface RedisTier {
  readonly answers: RedisAnswers
  readonly tokens: RedisTokens
  readonly ledger: RedisLedger
  readonly refusals: RedisRefusals
  readonly isUp: () => boolean
  readonly close: () => void
}

/** @param leaseMs how long a lease holds that nobody renews */
export async function openRedisTier(
  target: RedisTarget,
  { leaseMs, ...parts }: CommandsParts & { readonly leaseMs: number },
): Promise<RedisTier> {
  const commands = await Commands.open(target, parts)
  return {
    answers: new RedisAnswers(commands, leaseMs),
    tokens: new RedisTokens(commands),
    ledger: new RedisLedger(commands),
    refusals: new RedisRefusals(commands),
    isUp: () => commands.isUp,
    close: () => {
      commands.close()
    },
  }
}
