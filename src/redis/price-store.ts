import type { SharedPrice } from '../upstream/pacing/price.ts'
import type { Commands } from './commands.ts'
import { PRICE_KEY } from './keys.ts'

/** A price older than this is of a replica that is gone. */
const PRICE_TTL_MS = 60_000

/** The price of a call under the quota: each replica reads the latest one before it writes its own. */
export class RedisPriceStore implements SharedPrice {
  readonly #commands: Commands
  #latest: number | null = null

  constructor(commands: Commands) {
    this.#commands = commands
  }

  readonly latestThetaS = (): number | null => (this.#commands.isUp ? this.#latest : null)

  readonly publish = (thetaS: number): void => {
    void this.#exchange(thetaS)
  }

  async #exchange(thetaS: number): Promise<void> {
    const latest = Number(await this.#commands.command('get', PRICE_KEY))
    this.#latest = Number.isFinite(latest) && latest > 0 ? latest : null
    await this.#commands.command('set', PRICE_KEY, thetaS.toPrecision(9), 'PX', PRICE_TTL_MS)
  }
}
