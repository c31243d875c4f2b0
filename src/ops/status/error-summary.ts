import type { Observer, RequestFailure } from '../../events.ts'
import type { Clock } from '../../lib/clock.ts'
import { truncated } from './truncated.ts'

/** Errors with the same code. */
export interface ErrorGroup {
  readonly code: string
  readonly status: number
  count: number
  /** Of the last one: milliseconds since the epoch, and the reason. */
  lastAt: number
  lastReason: string | null
}

/** Client errors of one sender. */
export interface ErrorSender {
  /** The client's name, if clients have keys. */
  readonly client: string | null
  /** As LOG_CLIENT_ADDRESS allows. */
  readonly address: string | null
  readonly userAgent: string | null
  count: number
  lastAt: number
  lastCode: string
}

/** Senders that are remembered; the one whose last error is the oldest is dropped. */
export const MAX_SENDERS = 100

/** Errors since the start by code, and client errors by sender. */
export class ErrorSummary {
  readonly observer: Partial<Observer>
  readonly #groups = new Map<string, ErrorGroup>()
  /** In the order of their last errors. */
  readonly #senders = new Map<string, ErrorSender>()

  constructor(clock: Pick<Clock, 'wall'>) {
    this.observer = {
      requestFailed: (failure) => {
        this.#addToGroup(failure, clock.wall())
        if (failure.status < 500) this.#addToSender(failure, clock.wall())
      },
    }
  }

  /** The most frequent first. */
  groups(): ErrorGroup[] {
    return [...this.#groups.values()].toSorted((a, b) => b.count - a.count)
  }

  senders(limit: number): ErrorSender[] {
    return [...this.#senders.values()].toSorted((a, b) => b.count - a.count).slice(0, limit)
  }

  #addToGroup({ code, status, reason }: RequestFailure, now: number): void {
    const group = this.#groups.get(code) ?? { code, status, count: 0, lastAt: now, lastReason: null }
    this.#groups.set(code, group)
    group.count++
    group.lastAt = now
    group.lastReason = truncated(reason)
  }

  #addToSender({ code, client, clientAddress, ...failure }: RequestFailure, now: number): void {
    const userAgent = truncated(failure.userAgent)
    const key = JSON.stringify([client, clientAddress, userAgent])
    const sender = this.#senders.get(key) ?? {
      client: client ?? null,
      address: clientAddress ?? null,
      userAgent,
      count: 0,
      lastAt: now,
      lastCode: code,
    }
    this.#senders.delete(key)
    this.#senders.set(key, sender)
    sender.count++
    sender.lastAt = now
    sender.lastCode = code
    if (this.#senders.size > MAX_SENDERS) this.#senders.delete(this.#senders.keys().next().value as string)
  }
}
