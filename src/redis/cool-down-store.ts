import type { ErrorCode } from '../errors.ts'
import type { SharedCoolDown } from '../upstream/state/cool-down-state.ts'
import type { CoolDownStore } from '../upstream/state/shared-cool-down.ts'
import { MAX_PROBE_MS } from '../upstream/state/shared-cool-down.ts'
import type { Commands } from './commands.ts'
import { coolDownKey, coolDownProbeKey } from './keys.ts'

/** The longest Retry-After that is followed. */
const MAX_COOL_DOWN_MS = 300_000
/** Codes of calls that upstream rejected. */
const CODES: ReadonlySet<unknown> = new Set(['UpstreamRefused', 'TooManyRequests'] satisfies ErrorCode[])
const MAX_TIMES = 100
const MAX_DIAGNOSIS_LENGTH = 500

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
    return typeof value === 'string' && Number(ms) > 0 && Number(ms) <= MAX_COOL_DOWN_MS
      ? parseCoolDown(value, Number(ms))
      : null
  }

  set(key: string, { waitMs, ...coolDown }: SharedCoolDown): void {
    void this.#commands.command(
      'set',
      coolDownKey(key),
      JSON.stringify(coolDown),
      'PX',
      Math.max(1, Math.ceil(waitMs)),
    )
  }

  clear(key: string): void {
    void this.#commands.command('del', coolDownKey(key))
  }

  async tryAcquireProbe(key: string): Promise<boolean> {
    const reply = await this.#commands.command('set', coolDownProbeKey(key), 1, 'PX', MAX_PROBE_MS, 'NX')
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
    const isKnown = CODES.has(code) && Number.isInteger(times) && Number(times) >= 1
    if (!isKnown) return null
    return {
      code: code as ErrorCode,
      status: typeof status === 'number' ? status : undefined,
      diagnosis: String(diagnosis).slice(0, MAX_DIAGNOSIS_LENGTH),
      times: Math.min(Number(times), MAX_TIMES),
      waitMs,
    }
  } catch {
    return null
  }
}
