import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'

interface Window {
  readonly endsAt: number
  requests: number
}

/** Addresses counted at the same time; whoever was not heard of for longest is forgotten, and begins anew. */
export const MAX_WINDOWS = 10_000

/**
 * Where @fastify/rate-limit counts. Its own store reads the wall clock: set back by an hour, that keeps whoever is
 * over the limit out for an hour.
 */
export function createFixedWindowStore(clock: Pick<Clock, 'now'>): FastifyRateLimitStoreCtor {
  return class RateWindows implements FastifyRateLimitStore {
    readonly #windows = new LRUCache<string, Window>({ max: MAX_WINDOWS })

    incr(client: string, tell: Parameters<FastifyRateLimitStore['incr']>[1], windowMs: number): void {
      const now = clock.now()
      let window = this.#windows.get(client)
      if (window === undefined || window.endsAt <= now) {
        window = { endsAt: now + windowMs, requests: 0 }
        this.#windows.set(client, window)
      }
      window.requests++
      tell(null, { current: window.requests, ttl: window.endsAt - now })
    }

    child(): this {
      return this
    }
  }
}
