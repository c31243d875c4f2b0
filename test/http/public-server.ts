import type { Test } from 'tap'
import { Answer } from '../../src/cache/answer.ts'
import type { LookupResult } from '../../src/cache/cache.ts'
import type { Observer } from '../../src/events.ts'
import type { PublicServerDeps, PublicServerOptions } from '../../src/http/server.ts'
import { createPublicServer } from '../../src/http/server.ts'
import { Streams } from '../../src/http/live/streams.ts'
import { TestClock } from '../support/clock.ts'
import { referenceStation } from '../support/stations.ts'
import { broadcast } from '../support/broadcast.ts'

export function hitFor(id: string): LookupResult {
  return {
    answer: new Answer(referenceStation(id)),
    result: 'hit',
    ageMs: 0,
    ttlMs: 1,
    wasExpired: false,
    isStored: true,
    changedAt: 0,
    staleReason: null,
  }
}

/** A cache whose lookups all go through `get`. */
export function cacheWith(get: PublicServerDeps['cache']['get']): PublicServerDeps['cache'] {
  const noHit = () => {
    throw new Error('no entry is fresh')
  }
  return { get, inFlight: () => undefined, fresh: () => null, hit: noHit }
}

/** The public server with a cache in which every lookup is a hit, and a clock that stands still. */
export async function createTestServer(
  t: Test,
  options: Partial<PublicServerOptions> = {},
  { listener = {}, ...deps }: Partial<PublicServerDeps> & { listener?: Partial<Observer> } = {},
) {
  const clock = new TestClock()
  const app = await createPublicServer(
    {
      perSecond: 0,
      maxInFlight: 0,
      trustedProxies: [],
      corsOrigins: '*',
      accessLog: false,
      addressDetail: 'off',
      openapi: '',
      docs: false,
      basePath: '',
      isDraining: () => false,
      batchDeadlineMs: 4_000,
      ...options,
    },
    {
      cache: cacheWith(hitFor),
      clients: null,
      live: { streams: new Streams(0), watchers: () => null },
      clock,
      observer: broadcast([listener]),
      ...deps,
    },
  )
  t.teardown(() => app.close())
  return { app, clock }
}
