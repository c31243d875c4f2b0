import type { RedisConfig } from '../config/redis-url.ts'
import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { SharedStores } from '../stores.ts'
import { RedisAnswerStore } from './answer-store.ts'
import type { CommandsDeps } from './commands.ts'
import { Commands } from './commands.ts'
import { RedisCoolDownStore } from './cool-down-store.ts'
import { RedisPacingStore } from './pacing-store.ts'
import { RedisQuotaStore } from './quota-store.ts'
import { RedisTokenStore } from './token-bucket.ts'
import { RedisUnknownIdStore } from './unknown-id-store.ts'

export interface RedisStoresDeps extends CommandsDeps {
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly observer: Pick<Observer, 'sharedCacheChanged' | 'sharedCommandRejected' | 'quotaMayBeEvicted'>
  /** Whether a quota is counted in Redis, which must not evict it. */
  readonly hasQuota: boolean
}

/** Opens the stores on one Redis or Valkey, whether or not it can be reached. */
export async function openRedisStores(config: RedisConfig, deps: RedisStoresDeps): Promise<SharedStores> {
  const checkEviction = async () => {
    const policy = await commands.evictionPolicy()
    if (policy?.startsWith('allkeys') === true) deps.observer.quotaMayBeEvicted(policy)
  }
  const observer: CommandsDeps['observer'] = {
    sharedCommandRejected: deps.observer.sharedCommandRejected,
    sharedCacheChanged: (up, reason) => {
      deps.observer.sharedCacheChanged(up, reason)
      // The circuit can close before `open` has returned.
      if (up && deps.hasQuota) setImmediate(() => void checkEviction())
    },
  }
  const commands = await Commands.open(config, { ...deps, observer })
  return {
    answers: new RedisAnswerStore(commands, deps.clock),
    archive: null,
    tokens: new RedisTokenStore(commands, deps.clock),
    quota: new RedisQuotaStore(commands),
    pacing: new RedisPacingStore(commands),
    unknownIds: new RedisUnknownIdStore(commands),
    coolDowns: new RedisCoolDownStore(commands),
    isUp: () => commands.isUp,
    close: () => {
      commands.close()
    },
  }
}
