import type { StationState } from '../cache/entry-store.ts'

/** What pacing knows of a station, as a value: the version of the answer since which requests were counted, and numbers. */
export function encodeStation(version: string, station: StationState): string {
  const { served, servedAgesS, changes, watchedS, weight1024ths, evidence } = station
  return [version, served, servedAgesS, changes, watchedS, weight1024ths, evidence].join(' ')
}

/**
 * Null if there is none. The requests since another version of the answer are left out. The numbers are not checked here:
 * cache/ does that for every store.
 */
export function decodeStation(value: unknown, version: string): StationState | null {
  if (typeof value !== 'string') return null
  const [of, ...texts] = value.split(' ')
  const [served = NaN, ages = NaN, changes = NaN, watchedS = NaN, weight = NaN, evidence = NaN] =
    texts.map(Number)
  const usage = of === version ? { served, servedAgesS: ages } : { served: 0, servedAgesS: 0 }
  return { ...usage, changes, watchedS, weight1024ths: weight, evidence }
}
