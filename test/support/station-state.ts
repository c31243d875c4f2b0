import type { StationState } from '../../src/cache/entry-store.ts'

/** What pacing knows of a station, each number another one. */
export const KNOWN: StationState = {
  served: 7,
  servedAgesS: 70,
  changes: 3,
  watchedS: 900,
  weight1024ths: 2_048,
  evidence: 9_000,
}
