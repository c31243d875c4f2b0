import { LRUCache } from 'lru-cache'
import type { StationState } from '../source.ts'
import type { Answer } from './answer.ts'

export type { StationState } from '../source.ts'

/** The empty answers in a row that came after a full one and did not replace it. */
export interface Doubt {
  readonly empties: number
  /** When the last of them came, in whole ms on the monotonic clock. */
  readonly at: number
}

/** The state of an entry that pacing does not concern. */
export const UNPACED: StationState = {
  served: 0,
  servedAgesS: 0,
  changes: 0,
  watchedS: 0,
  weight1024ths: 1024,
  evidence: 0,
}

/** A cached answer. Moments are on the monotonic clock, in whole ms (see floorMs). */
export interface CacheEntry extends StationState {
  readonly answer: Answer
  /** When upstream answered. */
  readonly receivedAt: number
  /** When the call began: of two answers, the one of the later call is newer. */
  readonly startedAt: number
  /** 0.9 to 1: the part of the TTL for which this entry is fresh (see ttlFactor). */
  readonly jitter: number
  /** Identifies the answer among replicas; empty without a shared cache. */
  readonly version: string
  /** Another replica made the call. */
  readonly fromPeer: boolean
  /** Not null: upstream's later answers were empty, and this full one is served in their place. */
  readonly doubt: Doubt | null
  /** When the answer was first seen to differ from the one before it, in whole seconds since the epoch; 0 if never. */
  readonly changedAt: number
  /** When the last lookup was. */
  lastUsedAt: number
}

/**
 * An entry with what pacing knows of its station. All members are written out: V8 then keeps them in the object itself,
 * 144 bytes. An object that is put together from others may become a hash table of 600 bytes.
 */
export function createEntry(
  entry: Omit<CacheEntry, keyof StationState>,
  state: StationState = UNPACED,
): CacheEntry {
  return {
    answer: entry.answer,
    receivedAt: entry.receivedAt,
    startedAt: entry.startedAt,
    jitter: entry.jitter,
    version: entry.version,
    fromPeer: entry.fromPeer,
    doubt: entry.doubt,
    changedAt: entry.changedAt,
    lastUsedAt: entry.lastUsedAt,
    served: state.served,
    servedAgesS: state.servedAgesS,
    changes: state.changes,
    watchedS: state.watchedS,
    weight1024ths: state.weight1024ths,
    evidence: state.evidence,
  }
}

/**
 * A moment in whole ms. V8 stores a small integer (24 days of ms) in the entry itself, but a fraction in a separate
 * object of 16 bytes, and there are many entries (bench/parts/memory.mjs). Rounds down, so an entry never looks fresher
 * than it is.
 */
export function floorMs(moment: number): number {
  return Math.floor(moment)
}

export interface EntryStoreOptions {
  readonly maxEntries: number
  readonly maxBytes: number
  /** An entry was evicted, or was too large to be stored. */
  readonly onEviction: () => void
}

/**
 * The part of the capacity that stations without connectors may take: made-up ids evict no more than that. A tenth holds
 * the ids that clients still ask for by mistake.
 */
const EMPTY_SHARE = 0.1

/**
 * The part of the bytes up to which renderings evict entries. Beyond it renderings are dropped first: they cost some CPU to
 * make again, and an entry costs a call.
 */
const RENDERING_SHARE = 0.25

/**
 * The entries, bounded by number and by measured bytes; the least recently used is evicted first. Stations without
 * connectors are in a list of their own within the same bounds; the capacity that they leave is used by the others.
 */
export class EntryStore {
  readonly #options: EntryStoreOptions
  readonly #stations: LRUCache<string, CacheEntry>
  readonly #empties: LRUCache<string, CacheEntry>
  /** The bytes of renderings by answer, the one that grew last at the end. The lists count what answers take besides. */
  readonly #renderings = new Map<Answer, number>()
  #renderingBytes = 0

  constructor(options: EntryStoreOptions) {
    const { maxEntries, maxBytes, onEviction } = options
    this.#options = options
    const onLeave = (answer: Answer, isEvicted: boolean) => {
      this.#leave(answer)
      if (isEvicted) onEviction()
    }
    this.#stations = createLru(maxEntries, maxBytes, onLeave)
    this.#empties = createLru(shareOf(maxEntries), shareOf(maxBytes), onLeave)
  }

  get entries(): number {
    return this.#stations.size + this.#empties.size
  }

  get bytes(): number {
    return this.#stations.calculatedSize + this.#empties.calculatedSize + this.#renderingBytes
  }

  /** How many stations with connectors there are. */
  get stations(): number {
    return this.#stations.size
  }

  /** The stations with connectors, the most recently used first. */
  recent(): Iterable<CacheEntry> {
    return this.#stations.values()
  }

  get(id: string): CacheEntry | null {
    return this.#stations.get(id) ?? this.#empties.get(id) ?? null
  }

  /** Like `get`, without an effect on the order of eviction. */
  peek(id: string): CacheEntry | null {
    return this.#stations.peek(id) ?? this.#empties.peek(id) ?? null
  }

  /** Stores the entry, unless the present one is from a later call; whether it did. */
  put(entry: CacheEntry): boolean {
    const { id, isEmpty } = entry.answer
    const present = this.peek(id)
    if (present !== null && present.startedAt > entry.startedAt) return false
    const [list, other] = isEmpty ? [this.#empties, this.#stations] : [this.#stations, this.#empties]
    other.delete(id)
    entry.answer.stored(this.#resize)
    this.#set(list, entry)
    return true
  }

  delete(id: string): void {
    this.#stations.delete(id)
    this.#empties.delete(id)
  }

  clear(): void {
    this.#stations.clear()
    this.#empties.clear()
  }

  /** lru-cache measures a size only when a new value is set, so the entry of a grown answer is set again as a copy. */
  readonly #resize = (answer: Answer): void => {
    const list = answer.isEmpty ? this.#empties : this.#stations
    const entry = list.peek(answer.id)
    if (entry?.answer === answer) this.#set(list, { ...entry })
  }

  #count(answer: Answer, bytes: number): void {
    this.#renderingBytes += bytes - (this.#renderings.get(answer) ?? 0)
    this.#renderings.delete(answer)
    if (bytes > 0) this.#renderings.set(answer, bytes)
  }

  #leave(answer: Answer): void {
    this.#count(answer, 0)
    answer.evicted()
  }

  /** lru-cache drops an entry larger than its capacity without a call of `dispose`. */
  #set(list: LRUCache<string, CacheEntry>, entry: CacheEntry): void {
    const { answer } = entry
    const { id, bytes, renderingBytes } = answer
    const present = list.peek(id)?.answer
    if (present !== undefined && present !== answer) this.#leave(present)
    list.set(id, entry, { size: bytes - renderingBytes })
    if (list.has(id)) {
      this.#count(answer, renderingBytes)
    } else {
      this.#leave(answer)
      this.#options.onEviction()
    }
    this.#evict(list === this.#stations ? 1 : 0)
  }

  /**
   * Evicts down to the bounds, stations first except for the `newest` of them: the empties are bounded by their share
   * already, and each saves a call for a made-up id.
   */
  #evict(newest: number): void {
    const { maxEntries, maxBytes } = this.#options
    while (this.entries > maxEntries || this.bytes > maxBytes) {
      if (this.entries <= maxEntries && this.#dropRenderings()) continue
      const list = this.#stations.size > newest ? this.#stations : this.#empties
      if (list.pop() === undefined && this.#stations.pop() === undefined) return
    }
  }

  /** Drops those of the answer that has grown the longest ago, and never of the last; false if all take little. */
  #dropRenderings(): boolean {
    const [oldest] = this.#renderings.keys()
    const share = this.#options.maxBytes * RENDERING_SHARE
    if (oldest === undefined || this.#renderings.size === 1 || this.#renderingBytes <= share) return false
    this.#count(oldest, 0)
    oldest.dropRenderings()
    return true
  }
}

function shareOf(capacity: number): number {
  return Math.max(1, Math.floor(capacity * EMPTY_SHARE))
}

function createLru(
  max: number,
  maxSize: number,
  onLeave: (answer: Answer, isEvicted: boolean) => void,
): LRUCache<string, CacheEntry> {
  return new LRUCache<string, CacheEntry>({
    max,
    maxSize,
    dispose: ({ answer }, _id, reason) => {
      if (reason === 'set') return // by a copy, or by another answer
      onLeave(answer, reason === 'evict')
    },
  })
}
