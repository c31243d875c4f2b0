import type { Clock } from '../lib/clock.ts'
import type { GateReply, StoreGate } from '../upstream/state/shared-send-gate.ts'
import { passStoreGate } from '../upstream/state/shared-send-gate.ts'
import type { SharedToken, StoreOutage, TokenStore } from '../upstream/state/shared-token-bucket.ts'
import type { SentCall } from '../upstream/state/sent-call.ts'
import type { TokenBucketOptions } from '../upstream/state/token-bucket.ts'
import type { Commands } from './commands.ts'
import { SENT_KEY, TOKENS_KEY } from './keys.ts'
import { TAKE_TOKEN } from './scripts.ts'
import { NOTE_ARRIVAL, PASS_SEND_GATE } from './send-gate-script.ts'

/** No token is used later than this: a longer wait is not of the script's making. */
const MAX_WAIT_MS = 24 * 3_600_000
/** The check at sending delays a call by no more times that of a token: more is no lateness that calls can have. */
const MAX_GATE_ROUNDS = 10

/** The bucket of tokens that replicas share, on the server's clock. */
export class RedisTokenStore implements TokenStore {
  readonly #commands: Commands
  readonly #clock: Pick<Clock, 'now' | 'after'>
  #hasTaken = false

  constructor(commands: Commands, clock: Pick<Clock, 'now' | 'after'>) {
    this.#commands = commands
    this.#clock = clock
  }

  get outage(): StoreOutage | null {
    return this.#commands.outage
  }

  async take(bucket: TokenBucketOptions, leave: number, maxWaitMs: number): Promise<SharedToken | null> {
    const { count, tokenReuseMs } = bucket
    const args = [count, tokenReuseMs, leave, maxWaitMs, this.#hasTaken ? 1 : 0]
    const reply = await this.#commands.script(TAKE_TOKEN, [TOKENS_KEY], args)
    const waitMs = Number(reply)
    if (reply === undefined || !(waitMs >= 0 && waitMs <= MAX_WAIT_MS)) return null
    this.#hasTaken = true
    return { waitMs }
  }

  pass(bucket: TokenBucketOptions): Promise<SentCall | null> {
    return passStoreGate(this.#gate(bucket), this.#clock, MAX_GATE_ROUNDS * bucket.tokenReuseMs)
  }

  #gate({ count, tokenReuseMs }: TokenBucketOptions): StoreGate {
    const script = this.#commands.script.bind(this.#commands)
    return {
      ask: async () => parseReply(await script(PASS_SEND_GATE, [SENT_KEY], [count, tokenReuseMs])),
      arrived: (number) => void script(NOTE_ARRIVAL, [SENT_KEY], [number]),
    }
  }
}

/** Undefined for a reply that the script cannot have made. */
function parseReply(reply: unknown): GateReply | undefined {
  if (!Array.isArray(reply) || reply.length !== 2) return undefined
  const [number, waitMs] = reply.map(Number) as [number, number]
  const isValid = Number.isSafeInteger(number) && waitMs >= 0 && waitMs <= MAX_WAIT_MS
  return isValid ? { number, waitMs } : undefined
}
