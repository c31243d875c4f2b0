import { createHash } from 'node:crypto'
import type { ErrorCode } from '../errors.ts'
import { STATUS_OF } from '../errors.ts'
import type { CoolDownStore, SharedCoolDown } from '../upstream/policies/cool-down.ts'
import type { Commands } from './commands.ts'

/** Longest time that one replica's probe keeps the others waiting, should it never end. */
const PROBE_MS = 5_000

/** Who was refused tells the others, under a fingerprint of the key: 64 bits of its hash, from which no key is found. */
export class RedisCoolDownStore implements CoolDownStore {
  readonly #commands: Commands

  constructor(commands: Commands) {
    this.#commands = commands
  }

  async get(key: string): Promise<SharedCoolDown | null> {
    const name = refusalOf(key)
    const [value, ms] = await Promise.all([
      this.#commands.command('get', name),
      this.#commands.command('pttl', name),
    ])
    return typeof value === 'string' && Number(ms) > 0 ? readRefusal(value, Number(ms)) : null
  }

  set(key: string, { waitMs, ...refusal }: SharedCoolDown): void {
    void this.#commands.command('set', refusalOf(key), JSON.stringify(refusal), 'PX', Math.ceil(waitMs))
  }

  clear(key: string): void {
    void this.#commands.command('del', refusalOf(key))
  }

  async isProbed(key: string): Promise<boolean> {
    const reply = await this.#commands.command('set', probeOf(key), 1, 'PX', PROBE_MS, 'NX')
    return reply === null
  }

  releaseProbe(key: string): void {
    void this.#commands.command('del', probeOf(key))
  }
}

function refusalOf(key: string): string {
  return `refused:${fingerprint(key)}`
}

function probeOf(key: string): string {
  return `probe:${fingerprint(key)}`
}

function fingerprint(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 16)
}

/** Null for what nobody of ours has written. */
function readRefusal(text: string, waitMs: number): SharedCoolDown | null {
  try {
    const { code, status, diagnosis, times } = JSON.parse(text) as Record<string, unknown>
    if (typeof code !== 'string' || !Object.hasOwn(STATUS_OF, code)) return null
    const known = typeof status === 'number' ? status : undefined
    return {
      code: code as ErrorCode,
      status: known,
      diagnosis: String(diagnosis),
      times: Number(times),
      waitMs,
    }
  } catch {
    return null
  }
}
