import type { Availability } from './availability/model.ts'

/** How a caller wants a station's answer to be loaded. */
export interface LoadOptions {
  /**
   * A refresh whose client already has a stale answer, or a second attempt. Under load it is rejected instead of
   * queued, and leaves the reserve to other calls.
   */
  readonly lowPriority: boolean
  /** A stale answer of this station is cached. */
  readonly hasStale: boolean
  /** An answer with connectors is cached, stale or not: the station exists. */
  readonly isKnown: boolean
  /** The call tests whether upstream is back: it is not retried. */
  readonly isProbe?: boolean
  /** Time for the attempt in ms, when it is less than the whole. */
  readonly timeoutMs?: number
  /** The client whose lookup started the call; absent if it is charged to nobody. */
  readonly client?: string
}

/**
 * Loads the unfiltered answer of a station. TomTom, every policy around it and the doubles in tests are Sources.
 * Rejects with a ServiceError.
 */
export type Source = (id: string, options: LoadOptions) => Promise<Availability>

/** Wraps a Source in one behaviour, such as a retry or a rate limit; the result is a Source again. */
export type Policy = (next: Source) => Source

/**
 * What pacing knows of a station; cache entries carry it from answer to answer. Small integers: V8 stores them in the entry
 * itself.
 */
export interface StationState {
  /** Requests served from the cache since the last call. */
  served: number
  /** Sum of the ages at which they were served, in s. */
  servedAgesS: number
  /** Calls whose answer differed from the one before. */
  changes: number
  /** Time between the calls that were compared, in s. */
  watchedS: number
  /** Weight in 1/1024ths: 1024 is the average station. */
  weight1024ths: number
  /** What its answers have shown of how often they change, two numbers in one (station-evidence.ts); 0 for nothing. */
  evidence: number
}
