import type { LyingRedis } from './fuzz-redis.ts'
import type { Proxy } from './proxy.ts'
import type { ScriptedUpstream } from './scripted-upstream.ts'

/** The service under test and its upstream. */
export interface Target {
  readonly proxy: Proxy
  readonly upstream: ScriptedUpstream
  /** Another service, with the same upstream and a shared store that lies. */
  readonly lying: { readonly proxy: Proxy; readonly redis: LyingRedis }
  stop(): Promise<void>
}

/** @throws Error naming the condition that does not hold */
export function ensure(condition: string, holds: boolean, found: unknown = ''): void {
  if (!holds) throw new Error(`${condition}: ${String(found).slice(0, 2_000)}`)
}
