import type { SharedToken, TokenStore } from '../upstream/state/shared-token-bucket.ts'
import type { TokenBucketOptions } from '../upstream/state/token-bucket.ts'
import type { Commands } from './commands.ts'
import { TOKENS_KEY } from './keys.ts'
import { TAKE_TOKEN } from './scripts.ts'

/** No token is used later than this: a longer wait is not of the script's making. */
const MAX_WAIT_MS = 24 * 3_600_000

/** The bucket of tokens that replicas share, on the server's clock. */
export class RedisTokenStore implements TokenStore {
  readonly #commands: Commands
  #hasTaken = false

  constructor(commands: Commands) {
    this.#commands = commands
  }

  async take(
    { count, tokenReuseMs }: TokenBucketOptions,
    leave: number,
    maxWaitMs: number,
  ): Promise<SharedToken | null> {
    const args = [count, tokenReuseMs, leave, maxWaitMs, this.#hasTaken ? 1 : 0]
    const reply = await this.#commands.script(TAKE_TOKEN, [TOKENS_KEY], args)
    const waitMs = Number(reply)
    if (reply === undefined || !(waitMs >= 0 && waitMs <= MAX_WAIT_MS)) return null
    this.#hasTaken = true
    return { waitMs }
  }
}
