import type { Lease, LeaseResult, SharedAnswer, SharedAnswerStore } from '../cache/shared-store.ts'
import type { ErrorCode } from '../errors.ts'
import { STATUS_OF } from '../errors.ts'
import type { Commands } from './commands.ts'
import { LEASE_GET, PUBLISH, RELEASE, RENEW } from './scripts.ts'

const HEADER = /^(\d{1,15}) (\d{1,15}) (\d{1,4}) (\S{1,64}) /
/** What is left in a lease's place after a failure. No token begins so. */
const SETBACK = /^!(\w+)$/
const THOUSANDTHS = 1_000

/** The shared tier of the cache: answers, and leases on the right to call for one. */
export class RedisAnswerStore implements SharedAnswerStore {
  readonly #commands: Commands

  constructor(commands: Commands) {
    this.#commands = commands
  }

  get isUp(): boolean {
    return this.#commands.isUp
  }

  async leaseGet(id: string, known: string, { token, ms }: Lease): Promise<LeaseResult> {
    const reply = await this.#commands.script(LEASE_GET, keysOf(id), [known, token, ms])
    return readSight(reply)
  }

  renew(id: string, { token, ms }: Lease): void {
    void this.#commands.script(RENEW, [leaseOf(id)], [token, ms])
  }

  publish(id: string, answer: SharedAnswer, lifeMs: number): void {
    const { version: token, ageMs, startedAgoMs, jitter, json } = answer
    const moments = [Math.round(ageMs), Math.round(startedAgoMs), Math.round(jitter * THOUSANDTHS)]
    void this.#commands.script(PUBLISH, keysOf(id), [token, ...moments, json, Math.ceil(lifeMs)])
  }

  release(id: string, token: string, error: { readonly code: ErrorCode; readonly ms: number }): void {
    void this.#commands.script(RELEASE, [leaseOf(id)], [token, `!${error.code}`, Math.ceil(error.ms)])
  }
}

/** The braces have a cluster keep both in one place; encoded, an id has none of its own. */
function keysOf(id: string): string[] {
  return [`answer:{${encodeURIComponent(id)}}`, leaseOf(id)]
}

function leaseOf(id: string): string {
  return `lease:{${encodeURIComponent(id)}}`
}

function readSight(reply: unknown): LeaseResult {
  const [kind, value, number] = Array.isArray(reply) ? (reply as unknown[]) : []
  if (kind === 'lease') return { kind, overCorruptValue: value === 1 }
  if (kind === 'taken') return readTaken(String(value), Number(number))
  const answer = kind === 'answer' ? readAnswer(String(value), Number(number)) : null
  return answer === null ? { kind: 'unavailable' } : { kind: 'answer', answer }
}

function readTaken(holder: string, ms: number): LeaseResult {
  const code = SETBACK.exec(holder)?.[1]
  return code !== undefined && Object.hasOwn(STATUS_OF, code)
    ? { kind: 'error', code: code as ErrorCode, ms: Math.max(0, ms) }
    : { kind: 'leased-by-peer' }
}

/** Null for what nobody of ours has written. A moment in the future, after a change of servers, is now. */
function readAnswer(value: string, now: number): SharedAnswer | null {
  const [header, received, started, jitter, token = ''] = HEADER.exec(value) ?? []
  if (header === undefined) return null
  return {
    version: token,
    json: value.slice(header.length),
    ageMs: Math.max(0, now - Number(received)),
    startedAgoMs: Math.max(0, now - Number(started)),
    jitter: Math.min(1, Number(jitter) / THOUSANDTHS),
  }
}
