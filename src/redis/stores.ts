import type { RedisConfig } from '../config/redis-url.ts'
import type { SharedStores } from '../stores.ts'
import { RedisAnswerStore } from './answer-store.ts'
import type { CommandsDeps } from './commands.ts'
import { Commands } from './commands.ts'
import { RedisCoolDownStore } from './cool-down-store.ts'
import { RedisQuotaStore } from './quota-store.ts'
import { RedisTokenStore } from './token-bucket.ts'

/** Opens the stores on one Redis or Valkey, whether or not it can be reached. */
export async function openRedisStores(config: RedisConfig, deps: CommandsDeps): Promise<SharedStores> {
  const commands = await Commands.open(config, deps)
  return {
    answers: new RedisAnswerStore(commands),
    archive: null,
    tokens: new RedisTokenStore(commands),
    quota: new RedisQuotaStore(commands),
    coolDowns: new RedisCoolDownStore(commands),
    isUp: () => commands.isUp,
    close: () => {
      commands.close()
    },
  }
}
