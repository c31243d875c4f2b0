import type { ErrorCode } from '../errors.ts'
import { STATUS_OF } from '../errors.ts'
import type { SharedCoolDown } from '../upstream/state/cool-down-state.ts'
import type { CoolDownStore } from '../upstream/state/shared-cool-down.ts'
import type { Commands } from './commands.ts'
import { coolDownKey, coolDownProbeKey } from './keys.ts'

/** A probe that never ends delays other replicas no longer than this. */
const PROBE_MS = 5_000

/** Cool-downs under a fingerprint of the API key. */
export class RedisCoolDownStore implements CoolDownStore {
  readonly #commands: Commands

  constructor(commands: Commands) {
    this.#commands = commands
  }

  async get(key: string): Promise<SharedCoolDown | null> {
    const name = coolDownKey(key)
    const [value, ms] = await Promise.all([
      this.#commands.command('get', name),
      this.#commands.command('pttl', name),
    ])
    return typeof value === 'string' && Number(ms) > 0 ? parseCoolDown(value, Number(ms)) : null
  }

  set(key: string, { waitMs, ...coolDown }: SharedCoolDown): void {
    void this.#commands.command('set', coolDownKey(key), JSON.stringify(coolDown), 'PX', Math.ceil(waitMs))
  }

  clear(key: string): void {
    void this.#commands.command('del', coolDownKey(key))
  }

  async tryAcquireProbe(key: string): Promise<boolean> {
    const reply = await this.#commands.command('set', coolDownProbeKey(key), 1, 'PX', PROBE_MS, 'NX')
    return reply !== null // undefined if Redis cannot be reached
  }

  releaseProbe(key: string): void {
    void this.#commands.command('del', coolDownProbeKey(key))
  }
}

/** Null for a value that this service did not write. */
function parseCoolDown(text: string, waitMs: number): SharedCoolDown | null {
  try {
    const { code, status, diagnosis, times } = JSON.parse(text) as Record<string, unknown>
    if (typeof code !== 'string' || !Object.hasOwn(STATUS_OF, code)) return null
    return {
      code: code as ErrorCode,
      status: typeof status === 'number' ? status : undefined,
      diagnosis: String(diagnosis),
      times: Number(times),
      waitMs,
    }
  } catch {
    return null
  }
}
