import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import type { AnswerArchive, LeaseResult, SharedAnswerStore } from './shared-store.ts'

export interface PendingPurgesDeps {
  readonly store: SharedAnswerStore
  /** Null if nothing is kept for the next process. */
  readonly archive: AnswerArchive | null
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'purgePending' | 'purgeApplied'>
}

/** Stations whose purges are kept; one more becomes a purge of all. An id has 128 characters at most. */
export const MAX_PENDING = 1_000
/** How often a store that could not be reached is tried again. */
const RETRY_MS = 250
/** Purges that are sent at once. */
const AT_ONCE = 50

const UNAVAILABLE: LeaseResult = { kind: 'unavailable' }

/** A station that is being read from the store. */
interface Reading {
  readonly id: string
  isPurged: boolean
}

/**
 * Purges of the shared cache that are not done yet. One that does not reach the store is kept until it does, or until the
 * process ends. Meanwhile nothing of these stations is read from the store or written to it, so that this process never
 * serves what was purged.
 */
export class PendingPurges {
  /** The store, without the stations whose purge is pending. */
  readonly store: SharedAnswerStore
  readonly archive: AnswerArchive | null
  readonly #deps: PendingPurgesDeps
  /** By station, what identifies its latest purge: an earlier one that ends is not that. */
  readonly #stations = new Map<string, object>()
  #all: object | null = null
  readonly #readings = new Set<Reading>()
  /** Whether a purge has failed, and is tried again. */
  #isWaiting = false
  #isStopped = false

  constructor(deps: PendingPurgesDeps) {
    this.#deps = deps
    this.store = this.#guarded(deps.store)
    this.archive = deps.archive && this.#guardedArchive(deps.archive)
  }

  /** Stations whose purge waits for the store; `all` if that of everything does. */
  get waiting(): number | 'all' {
    if (!this.#isWaiting) return 0
    return this.#all === null ? this.#stations.size : 'all'
  }

  /** Tries nothing from now on. */
  stop(): void {
    this.#isStopped = true
  }

  #isPending(id: string): boolean {
    return this.#all !== null || this.#stations.has(id)
  }

  async #purge(id: string): Promise<boolean> {
    const isFull = this.#stations.size >= MAX_PENDING && !this.#stations.has(id)
    if (isFull || (this.#isWaiting && this.#all !== null)) return this.#purgeAll()
    this.#stations.set(id, {})
    for (const reading of this.#readings) if (reading.id === id) reading.isPurged = true
    const isDone = await this.#tryOne(id)
    if (!isDone) this.#wait()
    return isDone
  }

  async #purgeAll(): Promise<boolean> {
    this.#stations.clear()
    this.#all = {}
    for (const reading of this.#readings) reading.isPurged = true
    const isDone = await this.#tryAll()
    if (!isDone) this.#wait()
    return isDone
  }

  async #tryOne(id: string): Promise<boolean> {
    const purge = this.#stations.get(id)
    const isDone = await this.#deps.store.purge(id)
    if (isDone && this.#stations.get(id) === purge) this.#stations.delete(id)
    return isDone
  }

  async #tryAll(): Promise<boolean> {
    const purge = this.#all
    const isDone = await this.#deps.store.purgeAll()
    if (isDone && this.#all === purge) this.#all = null
    return isDone
  }

  #wait(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#deps.observer.purgePending()
    this.#schedule()
  }

  #schedule(): void {
    if (!this.#isStopped) this.#deps.clock.after(RETRY_MS, () => void this.#retry())
  }

  async #retry(): Promise<void> {
    const isDone = this.#deps.store.isUp && (await this.#tryEach())
    if (!isDone || this.#all !== null || this.#stations.size > 0) {
      this.#schedule()
      return
    }
    this.#isWaiting = false
    this.#deps.observer.purgeApplied()
  }

  async #tryEach(): Promise<boolean> {
    if (this.#all !== null && !(await this.#tryAll())) return false
    const ids = [...this.#stations.keys()]
    for (let i = 0; i < ids.length; i += AT_ONCE) {
      const done = await Promise.all(ids.slice(i, i + AT_ONCE).map((id) => this.#tryOne(id)))
      if (done.includes(false)) return false
    }
    return true
  }

  /** Whether each of these stations was purged, or its purge was pending, while the store was read. */
  async #read<T>(ids: readonly string[], read: () => Promise<T>): Promise<[result: T, purged: Set<string>]> {
    const readings = ids.map((id) => ({ id, isPurged: this.#isPending(id) }))
    for (const reading of readings) this.#readings.add(reading)
    try {
      const result = await read()
      return [result, new Set(readings.filter(({ isPurged }) => isPurged).map(({ id }) => id))]
    } finally {
      for (const reading of readings) this.#readings.delete(reading)
    }
  }

  #guarded(store: SharedAnswerStore): SharedAnswerStore {
    return {
      get isUp() {
        return store.isUp
      },
      leaseGet: async (id, known, lease) => {
        if (this.#isPending(id)) return UNAVAILABLE
        const [reply, purged] = await this.#read([id], () => store.leaseGet(id, known, lease))
        return purged.size > 0 ? UNAVAILABLE : reply
      },
      renew: (id, lease) => store.renew(id, lease),
      publish: (id, answer, lifeMs) => {
        if (!this.#isPending(id)) store.publish(id, answer, lifeMs)
      },
      release: (id, token, error) => store.release(id, token, error),
      purge: (id) => this.#purge(id),
      purgeAll: () => this.#purgeAll(),
      noteUses: async (uses) => store.noteUses?.(uses),
      onPublished: (listener) => store.onPublished?.(listener),
      onPurged: (listener) => store.onPurged?.(listener),
    }
  }

  #guardedArchive(archive: AnswerArchive): AnswerArchive {
    return {
      recent: () => archive.recent(),
      read: async (ids) => {
        const [answers, purged] = await this.#read(ids, () => archive.read(ids))
        return answers.filter(([id]) => !purged.has(id))
      },
    }
  }
}
