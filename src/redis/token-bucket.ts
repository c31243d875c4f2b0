import type { TokenStore } from '../upstream/state/shared-token-bucket.ts'
import type { TokenBucketOptions } from '../upstream/state/token-bucket.ts'
import type { Commands } from './commands.ts'
import { TOKENS_KEY } from './keys.ts'
import { TAKE_TOKEN } from './scripts.ts'

/** The bucket of tokens that replicas share, on the server's clock. */
export class RedisTokenStore implements TokenStore {
  readonly #commands: Commands

  constructor(commands: Commands) {
    this.#commands = commands
  }

  async take(
    { count, tokenReuseMs }: TokenBucketOptions,
    leave: number,
    maxWaitMs: number,
  ): Promise<number | null> {
    const args = [count, tokenReuseMs, leave, maxWaitMs]
    const reply = await this.#commands.script(TAKE_TOKEN, [TOKENS_KEY], args)
    return reply === undefined ? null : Number(reply)
  }
}
