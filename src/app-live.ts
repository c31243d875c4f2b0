import { isStationId } from './availability/query.ts'
import type { createCacheStack } from './app-cache.ts'
import type { Config } from './config/load.ts'
import type { Observer } from './events.ts'
import type { Gauges } from './gauges.ts'
import { Streams } from './http/live/streams.ts'
import type { Clock } from './lib/clock.ts'
import { watchStationsOf } from './watch/watch-file.ts'
import { Watchers } from './watch/watchers.ts'

export interface LiveDeps {
  readonly config: Config
  readonly clock: Clock
  readonly observer: Observer
  readonly subscribe: (listener: Partial<Observer>) => void
  readonly stack: Pick<Awaited<ReturnType<typeof createCacheStack>>, 'cache' | 'isSparing' | 'fetchWatched'>
}

export interface LiveStack {
  readonly streams: Streams
  /** Null with a TTL of 0. */
  readonly watchers: Watchers | null
  readonly gauge: Gauges['live']
  readonly stop: () => void
}

/** Live updates: what is watched, and the streams and long polls that are open. */
export function createLive({ config, clock, observer, subscribe, stack }: LiveDeps): LiveStack {
  const { cache, isSparing: isPaused } = stack
  const streams = new Streams(config.live.maxStreams)
  const watchers = config.cache.ttlMs === 0 ? null : new Watchers(config.cache, { cache, clock, isPaused })
  subscribe({ clientsChanged: streams.endRemovedClients })
  if (watchers !== null) {
    subscribe({ answerStored: watchers.stored })
    cache.purge.onPurged(watchers.purged)
  }
  if (watchers !== null) stack.fetchWatched(watchers.isWatched)
  const { watchFile: file } = config.live
  if (file !== null && watchers === null) observer.watchFileFailed('CACHE_TTL=0 stores nothing')
  const stop =
    file === null || watchers === null
      ? () => {}
      : watchStationsOf(file, { watchers, clock, observer, isStationId })
  const gauge = () => ({
    stream: streams.count('stream'),
    long_poll: streams.count('long_poll'),
    maxStreams: config.live.maxStreams,
    stations: watchers?.stations ?? 0,
  })
  return { streams, watchers, gauge, stop }
}
