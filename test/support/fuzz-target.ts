import type { LyingRedis } from './fuzz-redis.ts'
import type { ScriptedUpstream } from './scripted-upstream.ts'

/** A service under test, in this process or in one of its own. */
export interface FuzzedService {
  /** Base URLs without a trailing slash. */
  readonly url: string
  readonly adminUrl: string
  /** CPU time so far, in ms, of the thread with its event loop. */
  readonly cpuMs: () => number
  readonly stop: () => Promise<void>
}

/** The service under test and its upstream. */
export interface Target {
  readonly proxy: FuzzedService
  readonly upstream: ScriptedUpstream
  /** Another service, with an upstream of its own and a shared store that lies. */
  readonly lying: { readonly proxy: FuzzedService; readonly redis: LyingRedis }
  /** Others without an access log, one of them with limits for its clients, and their upstream. */
  readonly breaking: { readonly services: readonly FuzzedService[]; readonly upstream: ScriptedUpstream }
  /** All of them. */
  readonly services: readonly FuzzedService[]
  stop(): Promise<void>
}

export function portOf({ url }: FuzzedService): number {
  return Number(new URL(url).port)
}

/** @throws Error naming the condition that does not hold */
export function ensure(condition: string, holds: boolean, found: unknown = ''): void {
  if (!holds) throw new Error(`${condition}: ${String(found).slice(0, 2_000)}`)
}
