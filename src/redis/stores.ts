import { RedisAnswerStore } from './answer-store.ts'
import type { CommandsDeps } from './commands.ts'
import { Commands } from './commands.ts'
import { RedisQuotaStore, RedisTokenStore } from './limits.ts'
import { RedisCoolDownStore } from './cool-down-store.ts'
import type { RedisConfig } from '../config/redis-url.ts'

/** All that replicas share, on one Redis or Valkey. */
export interface RedisStores {
  readonly answers: RedisAnswerStore
  readonly tokens: RedisTokenStore
  readonly quota: RedisQuotaStore
  readonly coolDowns: RedisCoolDownStore
  readonly isUp: () => boolean
  readonly close: () => void
}

export async function openRedisStores(target: RedisConfig, parts: CommandsDeps): Promise<RedisStores> {
  const commands = await Commands.open(target, parts)
  return {
    answers: new RedisAnswerStore(commands),
    tokens: new RedisTokenStore(commands),
    quota: new RedisQuotaStore(commands),
    coolDowns: new RedisCoolDownStore(commands),
    isUp: () => commands.isUp,
    close: () => {
      commands.close()
    },
  }
}
