import { isStationId } from './availability/query.ts'
import type { createCacheStack } from './app-cache.ts'
import type { Config } from './config/load.ts'
import type { Observer } from './events.ts'
import type { Gauges } from './gauges.ts'
import { Streams } from './http/live/streams.ts'
import type { Clock } from './lib/clock.ts'
import type { WatchFileDeps } from './watch/watch-file.ts'
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
  /** Null while CACHE_TTL is 0. */
  readonly watchers: () => Watchers | null
  readonly gauge: Gauges['live']
  /** Applies what has changed in `config`: with CACHE_TTL=0 nothing is watched. */
  readonly applySettings: () => void
  readonly stop: () => void
}

/** Live updates: what is watched, and the streams and long polls that are open. */
export function createLive({ config, clock, observer, subscribe, stack }: LiveDeps): LiveStack {
  const { cache, isSparing: isPaused } = stack
  const streams = new Streams(config.live.maxStreams)
  const watchers = new Watchers(config.cache, { cache, clock, isPaused })
  subscribe({ clientsChanged: streams.endRemovedClients, answerStored: watchers.stored })
  cache.purge.onPurged(watchers.purged)
  stack.fetchWatched(watchers.isWatched)
  const watchFile = createWatchFile(config.live.watchFile, { watchers, clock, observer, isStationId })
  const canWatch = () => config.cache.ttlMs > 0
  const applySettings = () => {
    if (!canWatch()) streams.endAll('settings')
    watchFile.follow(canWatch())
  }
  applySettings()
  const gauge = () => ({
    stream: streams.count('stream'),
    long_poll: streams.count('long_poll'),
    maxStreams: config.live.maxStreams,
    stations: watchers.stations,
  })
  const stop = () => watchFile.stop()
  return { streams, watchers: () => (canWatch() ? watchers : null), gauge, applySettings, stop }
}

/** WATCH_FILE, followed while answers are stored. */
function createWatchFile(file: string | null, deps: WatchFileDeps) {
  let stop: (() => void) | null = null
  let isFollowed: boolean | null = null
  return {
    follow(isWanted: boolean): void {
      if (file === null || isWanted === isFollowed) return
      isFollowed = isWanted
      stop?.()
      stop = isWanted ? watchStationsOf(file, deps) : null
      if (!isWanted) deps.observer.watchFileFailed('CACHE_TTL=0 stores nothing')
    },
    stop: () => stop?.(),
  }
}
