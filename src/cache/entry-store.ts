import { LRUCache } from 'lru-cache'
import type { Answer } from './answer.ts'

/** An answer as it is held; its moments in whole ms (see wholeMs). */
export interface CacheEntry {
  readonly answer: Answer
  /** When upstream answered, on the monotonic clock. */
  readonly receivedAt: number
  /** When the call for it began: a later call's answer is the newer one. */
  readonly startedAt: number
  /** 0.9 to 1: this entry's part of the TTL, so that entries stored together do not expire together. */
  readonly jitter: number
  /** Its name among the replicas. */
  readonly version: string
  /** Another replica had it; this one has not called for it. */
  readonly fromPeer: boolean
  /** When it was asked for last. */
  lastUsedAt: number
}

/**
 * A moment without its fraction of a ms: V8 keeps a small integer (24 days of ms) in the entry itself and a fraction in
 * an object of 16 bytes beside it, and entries are many (bench/parts/memory.mjs). Down, so that none seems younger.
 */
export function floorMs(moment: number): number {
  return Math.floor(moment)
}

export interface EntryStoreOptions {
  readonly maxEntries: number
  readonly maxBytes: number
  /** An answer left, or was not kept at all, for want of room. */
  readonly onEviction: () => void
}

/** Stations without connectors may take this part of the room: made-up ids push no more real stations out than that. */
const EMPTY_SHARE = 0.1

/**
 * What is held, bounded by count and by measured bytes; the least recently used leaves first. Stations without
 * connectors have a list of their own, within the same bounds: what they do not use is there for the others.
 */
export class EntryStore {
  readonly #options: EntryStoreOptions
  readonly #stations: LRUCache<string, CacheEntry>
  readonly #empties: LRUCache<string, CacheEntry>

  constructor(options: EntryStoreOptions) {
    const { maxEntries, maxBytes, onEviction } = options
    this.#options = options
    this.#stations = lru(maxEntries, maxBytes, onEviction)
    this.#empties = lru(shareOf(maxEntries), shareOf(maxBytes), onEviction)
  }

  get entries(): number {
    return this.#stations.size + this.#empties.size
  }

  get bytes(): number {
    return this.#stations.calculatedSize + this.#empties.calculatedSize
  }

  /** The stations with connectors, the most recently used first. */
  recent(): Iterable<CacheEntry> {
    return this.#stations.values()
  }

  get(id: string): CacheEntry | undefined {
    return this.#stations.get(id) ?? this.#empties.get(id)
  }

  /** The same without using it: it is as likely to leave as before. */
  peek(id: string): CacheEntry | undefined {
    return this.#stations.peek(id) ?? this.#empties.peek(id)
  }

  /** Keeps the answer, unless one from a later call is held already. */
  put(held: CacheEntry): void {
    const { id, isEmpty } = held.answer
    const present = this.peek(id)
    if (present !== undefined && present.startedAt > held.startedAt) return
    const [home, other] = isEmpty ? [this.#empties, this.#stations] : [this.#stations, this.#empties]
    other.delete(id)
    held.answer.onGrowth = this.#resize
    this.#set(home, held)
  }

  /** lru-cache measures when a new value is set, so a grown answer is set again in a new holder. */
  readonly #resize = (answer: Answer): void => {
    const home = answer.isEmpty ? this.#empties : this.#stations
    const held = home.peek(answer.id)
    if (held?.answer === answer) this.#set(home, { ...held })
  }

  /** lru-cache drops what is larger than all its room, and tells nobody. */
  #set(home: LRUCache<string, CacheEntry>, held: CacheEntry): void {
    const { id, bytes } = held.answer
    home.set(id, held, { size: bytes })
    this.#makeRoom(home === this.#stations ? 1 : 0)
    if (!home.has(id)) this.#options.onEviction()
  }

  /** Stations leave first, but for the `newest` of them: the others are few, and keep made-up ids from being calls. */
  #makeRoom(newest: number): void {
    const { maxEntries, maxBytes } = this.#options
    while (this.entries > maxEntries || this.bytes > maxBytes) {
      const list = this.#stations.size > newest ? this.#stations : this.#empties
      if (list.pop() === undefined) return
    }
  }
}

function shareOf(room: number): number {
  return Math.max(1, Math.floor(room * EMPTY_SHARE))
}

function lru(max: number, maxSize: number, onEviction: () => void): LRUCache<string, CacheEntry> {
  return new LRUCache<string, CacheEntry>({
    max,
    maxSize,
    dispose: (_held, _id, reason) => {
      if (reason === 'evict') onEviction()
    },
  })
}
