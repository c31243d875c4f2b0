import { PRICE_TTL_MS } from '../upstream/pacing/learned-pacing.ts'
import { randomUUID } from 'node:crypto'
import type { LearnedPacing, PacingStore } from '../upstream/pacing/learned-pacing.ts'
import type { Commands } from './commands.ts'
import { LEARNED_KEY, PRICE_KEY } from './keys.ts'

/** After a week the daily demand may have changed. */
const LEARNED_TTL_MS = 7 * 86_400_000

/** The price of a call under the quota, and what pacing has learned. */
export class RedisPacingStore implements PacingStore {
  readonly #commands: Commands
  readonly #replica = randomUUID()
  #latest: number | null = null

  constructor(commands: Commands) {
    this.#commands = commands
  }

  readonly latestThetaS = (): number | null => (this.#commands.isUp ? this.#latest : null)

  readonly publishTheta = (thetaS: number): void => {
    void this.#exchange(thetaS)
  }

  readonly load = async (): Promise<unknown> => {
    const text = await this.#commands.command('get', LEARNED_KEY)
    try {
      return JSON.parse(String(text))
    } catch {
      return null
    }
  }

  readonly save = async (learned: LearnedPacing): Promise<void> => {
    await this.#commands.command('set', LEARNED_KEY, JSON.stringify(learned), 'PX', LEARNED_TTL_MS)
  }

  /** Reads the price of whichever replica was the latest, before it writes this one's. */
  async #exchange(thetaS: number): Promise<void> {
    const [price, replica] = String(await this.#commands.command('get', PRICE_KEY)).split(' ')
    const latest = Number(price)
    const isOther = replica !== this.#replica && Number.isFinite(latest) && latest > 0
    this.#latest = isOther ? latest : null
    const value = `${thetaS.toPrecision(9)} ${this.#replica}`
    await this.#commands.command('set', PRICE_KEY, value, 'PX', PRICE_TTL_MS)
  }
}
