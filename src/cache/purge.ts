import type { EntryStore } from './entry-store.ts'
import type { NegativeCache } from './negative-cache.ts'
import type { SharedAnswerStore } from './shared-store.ts'
import type { SingleFlight } from './single-flight.ts'

export interface PurgeDeps {
  readonly calls: Pick<SingleFlight<unknown>, 'forget'>
  readonly store: Pick<EntryStore, 'delete' | 'clear'>
  readonly negative: Pick<NegativeCache, 'clear' | 'clearAll'>
  /** Absent without a shared cache. */
  readonly shared: Pick<SharedAnswerStore, 'purge' | 'purgeAll' | 'onPurged'> | undefined
}

/** A call, from its start until it has ended, be it after its deadline. */
export interface CallRun {
  readonly id: string
  /** The answer or the error of the call is not kept. */
  isPurged: boolean
}

/**
 * Drops what is cached, in the shared cache as well. Lookups from then on start a new call; a call in flight goes on for
 * its waiters, and cannot bring the purged answer back.
 */
export class Purge {
  readonly #deps: PurgeDeps
  readonly #runs = new Set<CallRun>()
  #listener: (id: string | null) => void = () => {}
  #count = 0

  constructor(deps: PurgeDeps) {
    this.#deps = deps
    deps.shared?.onPurged?.((id) => this.#dropPurgedByPeer(id))
  }

  /** Purges so far, those of other replicas too. */
  get count(): number {
    return this.#count
  }

  /** Calls the listener after each purge, those of other replicas too: with the station, or with null for all. */
  onPurged(listener: (id: string | null) => void): void {
    this.#listener = listener
  }

  /** Runs a call until it ends; `CallRun.isPurged` becomes true if its station is purged meanwhile. */
  track<T>(run: CallRun, call: () => Promise<T>): Promise<T> {
    this.#runs.add(run)
    return call().finally(() => this.#runs.delete(run))
  }

  /** Ends when the shared cache is purged as well, or could not be reached. */
  async one(id: string): Promise<void> {
    this.#dropOne(id)
    await this.#deps.shared?.purge(id)
    this.#listener(id)
  }

  /** Like `one`, for all stations. */
  async all(): Promise<void> {
    this.#dropAll()
    await this.#deps.shared?.purgeAll()
    this.#listener(null)
  }

  /** Another replica has purged a station, or all (null), in the shared cache. */
  #dropPurgedByPeer(id: string | null): void {
    if (id === null) this.#dropAll()
    else this.#dropOne(id)
    this.#listener(id)
  }

  #dropOne(id: string): void {
    this.#count++
    const { calls, store, negative } = this.#deps
    for (const run of this.#runs) if (run.id === id) run.isPurged = true
    calls.forget(id)
    store.delete(id)
    negative.clear(id)
  }

  #dropAll(): void {
    this.#count++
    const { calls, store, negative } = this.#deps
    for (const run of this.#runs) {
      run.isPurged = true
      calls.forget(run.id)
    }
    store.clear()
    negative.clearAll()
  }
}
