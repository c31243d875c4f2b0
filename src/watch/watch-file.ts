import type { Observer } from '../events.ts'
import type { Clock } from '../lib/clock.ts'
import { watchFile } from '../lib/watched-file.ts'
import type { Watcher } from './watcher.ts'
import type { Watchers } from './watchers.ts'

/** Maximum number of stations in the file; the lines after them are ignored. */
export const MAX_FILE_IDS = 10_000
/** Enough for as many ids of the maximum length. */
const MAX_FILE_BYTES = 4 * 2 ** 20
/** Invalid lines that are logged for one version of the file. */
const MAX_LOGGED_LINES = 1_000

export interface WatchFileDeps {
  /** The rule of the parameter chargingAvailability. */
  readonly isStationId: (text: string) => boolean
  readonly watchers: Pick<Watchers, 'watch'>
  readonly clock: Pick<Clock, 'after'>
  readonly observer: Pick<Observer, 'watchFileLoaded' | 'watchFileLineSkipped' | 'watchFileFailed'>
}

export interface WatchFileContent {
  readonly ids: readonly string[]
  /** Numbers of the lines that are no station id, from 1. */
  readonly invalid: readonly number[]
  /** The first line after the last station that is used; null if all are. */
  readonly cutAt: number | null
}

/** Needs no events: being watched is enough. */
const SILENT: Watcher = { isBackground: true, answered: () => {}, failed: () => {} }

/**
 * Watches the stations of a file, which is read again when it changes. A file that cannot be read watches nothing until it
 * can, or keeps the present stations. Returns the function that ends it.
 */
export function watchStationsOf(
  file: string,
  { watchers, clock, observer, isStationId }: WatchFileDeps,
): () => void {
  const leave = new Map<string, () => void>()
  let logged = new Set<number>()
  const apply = ({ ids, invalid, cutAt }: WatchFileContent) => {
    const wanted = new Set(ids)
    for (const [id, stop] of leave) {
      if (wanted.has(id)) continue
      stop()
      leave.delete(id)
    }
    for (const id of wanted) if (!leave.has(id)) leave.set(id, watchers.watch(id, SILENT))
    const skipped = new Set(cutAt === null ? invalid : [...invalid, cutAt])
    for (const line of [...skipped].filter((line) => !logged.has(line)).slice(0, MAX_LOGGED_LINES)) {
      const reason = line === cutAt ? `more than ${MAX_FILE_IDS} stations` : 'no station id'
      observer.watchFileLineSkipped(line, reason)
    }
    logged = skipped
    observer.watchFileLoaded(leave.size)
  }
  const { current, stop } = watchFile<WatchFileContent>(file, {
    parse: (text) => parseStations(text, isStationId),
    maxBytes: MAX_FILE_BYTES,
    isSame: (one, other) => JSON.stringify(one) === JSON.stringify(other),
    onChange: apply,
    onError: (reason) => observer.watchFileFailed(reason),
    initial: { ids: [], invalid: [], cutAt: null },
    clock,
  })
  apply(current())
  return () => {
    stop()
    for (const end of leave.values()) end()
  }
}

/** One id a line; blank lines and lines that begin with `#` are skipped. */
export function parseStations(text: string, isStationId: WatchFileDeps['isStationId']): WatchFileContent {
  const ids = new Set<string>()
  const invalid: number[] = []
  let number = 0
  for (const line of text.split('\n')) {
    number++
    const id = line.trim()
    if (id === '' || id.startsWith('#') || ids.has(id)) continue
    if (!isStationId(id)) invalid.push(number)
    else if (ids.size === MAX_FILE_IDS) return { ids: [...ids], invalid, cutAt: number }
    else ids.add(id)
  }
  return { ids: [...ids], invalid, cutAt: null }
}
