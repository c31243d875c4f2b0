import { LRUCache } from 'lru-cache'
import type { Answer } from './answer.ts'

/** An answer as it is held; its moments in whole ms (see wholeMs). */
export interface Held {
  readonly answer: Answer
  /** When upstream answered, on the monotonic clock. */
  readonly receivedAt: number
  /** When the call for it began: a later call's answer is the newer one. */
  readonly startedAt: number
  /** 0.9 to 1: this entry's part of the TTL, so that entries stored together do not expire together. */
  readonly jitter: number
  /** Its name among the replicas. */
  readonly token: string
  /** Another replica had it; this one has not called for it. */
  readonly adopted: boolean
  /** When it was asked for last. */
  usedAt: number
}

/**
 * A moment without its fraction of a ms: V8 keeps a small integer (24 days of ms) in the entry itself and a fraction in
 * an object of 16 bytes beside it, and entries are many (bench/parts/memory.mjs). Down, so that none seems younger.
 */
export function wholeMs(moment: number): number {
  return Math.floor(moment)
}

export interface StoreOptions {
  readonly maxEntries: number
  readonly maxBytes: number
  /** An answer left, or was not kept at all, for want of room. */
  readonly onEviction: () => void
}

/** Stations without connectors may take this part of the room: made-up ids must not push real stations out. */
const EMPTY_SHARE = 0.1

/** What is held, bounded by count and by measured bytes; the least recently used leaves first. */
export class Store {
  readonly #stations: LRUCache<string, Held>
  readonly #empties: LRUCache<string, Held>
  readonly #onEviction: () => void

  constructor({ maxEntries, maxBytes, onEviction }: StoreOptions) {
    const emptyEntries = Math.floor(maxEntries * EMPTY_SHARE)
    const emptyBytes = Math.floor(maxBytes * EMPTY_SHARE)
    const split = emptyEntries > 0 && emptyBytes > 0
    this.#stations = split
      ? lru(maxEntries - emptyEntries, maxBytes - emptyBytes, onEviction)
      : lru(maxEntries, maxBytes, onEviction)
    this.#onEviction = onEviction
    this.#empties = split ? lru(emptyEntries, emptyBytes, onEviction) : this.#stations
  }

  get entries(): number {
    return this.#sum((cache) => cache.size)
  }

  get bytes(): number {
    return this.#sum((cache) => cache.calculatedSize)
  }

  /** The stations with connectors, the most recently used first. */
  recent(): Iterable<Held> {
    return this.#stations.values()
  }

  get(id: string): Held | undefined {
    return this.#stations.get(id) ?? this.#empties.get(id)
  }

  /** The same without using it: it is as likely to leave as before. */
  peek(id: string): Held | undefined {
    return this.#stations.peek(id) ?? this.#empties.peek(id)
  }

  /** Keeps the answer, unless one from a later call is held already. */
  put(held: Held): void {
    const { id, isEmpty } = held.answer
    const present = this.peek(id)
    if (present !== undefined && present.startedAt > held.startedAt) return
    const [home, other] = isEmpty ? [this.#empties, this.#stations] : [this.#stations, this.#empties]
    if (other !== home) other.delete(id)
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
  #set(home: LRUCache<string, Held>, held: Held): void {
    const { id, bytes } = held.answer
    home.set(id, held, { size: bytes })
    if (!home.has(id)) this.#onEviction()
  }

  #sum(measure: (cache: LRUCache<string, Held>) => number): number {
    return measure(this.#stations) + (this.#empties === this.#stations ? 0 : measure(this.#empties))
  }
}

function lru(max: number, maxSize: number, onEviction: () => void): LRUCache<string, Held> {
  return new LRUCache<string, Held>({
    max,
    maxSize,
    dispose: (_held, _id, reason) => {
      if (reason === 'evict') onEviction()
    },
  })
}
