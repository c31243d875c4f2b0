import type { UnknownIdCharge, UnknownIdStore } from '../upstream/pacing/unknown-id-allowance.ts'
import type { Commands } from './commands.ts'
import { UNKNOWN_IDS_KEY } from './keys.ts'
import { CHARGE_UNKNOWN_IDS } from './unknown-id-script.ts'

/** The allowance for unknown ids that replicas share, on the server's clock. */
export class RedisUnknownIdStore implements UnknownIdStore {
  readonly #commands: Commands

  constructor(commands: Commands) {
    this.#commands = commands
  }

  async apply({ charged, refillPerMs }: UnknownIdCharge): Promise<number | null> {
    const args = [charged, refillPerMs.toFixed(15)]
    const reply = await this.#commands.script(CHARGE_UNKNOWN_IDS, [UNKNOWN_IDS_KEY], args)
    const outstanding = Number(reply)
    return reply === undefined || !Number.isFinite(outstanding) ? null : outstanding
  }
}
