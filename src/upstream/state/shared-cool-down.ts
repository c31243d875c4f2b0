import type { Admission, CoolDownDeps, CoolDownState, Rejection, SharedCoolDown } from './cool-down-state.ts'
import { LocalCoolDown } from './cool-down-state.ts'

/**
 * The right to probe expires after so long: a replica that dies with it delays the others no longer than with a lease. A
 * slower probe may be joined by one of another replica, which costs a call.
 */
export const MAX_PROBE_MS = 3_000

/** Cool-downs by API key, which the store does not reveal. Nothing here rejects, and nothing takes long. */
export interface CoolDownStore {
  /** The cool-down in force for this key; null without one, and while the store cannot be reached. */
  get(key: string): Promise<SharedCoolDown | null>
  set(key: string, coolDown: SharedCoolDown): void
  clear(key: string): void
  /**
   * Acquires the right to probe with this key, which expires by itself. True when it is acquired, and while the store
   * cannot be reached; false while another replica holds it.
   */
  tryAcquireProbe(key: string): Promise<boolean>
  releaseProbe(key: string): void
}

/**
 * One cool-down for all replicas. Each replica's own state follows the store, so that it holds on when the store
 * cannot be reached.
 */
export class SharedCoolDownState implements CoolDownState {
  readonly #local: LocalCoolDown
  readonly #store: CoolDownStore

  constructor(store: CoolDownStore, deps: CoolDownDeps) {
    this.#local = new LocalCoolDown(deps)
    this.#store = store
  }

  async admit(key: string): Promise<Admission> {
    const coolDown = await this.#store.get(key)
    if (coolDown !== null) this.#local.applyPeer(key, coolDown)
    const admission = this.#local.admit(key)
    if (admission === 'call' || (await this.#store.tryAcquireProbe(key))) return admission
    this.#local.endProbe()
    throw this.#local.delayedByProbe()
  }

  reject(key: string, rejection: Rejection): number {
    const coolDown = this.#local.apply(key, rejection)
    this.#store.set(key, coolDown)
    return coolDown.waitMs
  }

  accept(key: string, startedAt: number): void {
    if (this.#local.accept(key, startedAt)) this.#store.clear(key)
  }

  endProbe(key: string): void {
    this.#local.endProbe()
    this.#store.releaseProbe(key)
  }
}
