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
