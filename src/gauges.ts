import type { CircuitState, QuotaShortfall, StreamKind } from './events.ts'

/** What pacing expects until the reset. */
export interface QuotaForecast {
  /** Whether the demand was observed for long enough to project what will be left. */
  readonly isProjected: boolean
  /** Calls that will be left at the reset; all that remain, as long as that is not known. */
  readonly projectedRemaining: number
  /** Whether calls are held back because the quota does not last even at the maximum TTL, or to wait for their release. */
  readonly isRationing: boolean
  /** Null if the quota suffices for the stations in use. */
  readonly shortfall: QuotaShortfall | null
  /** Calls that may still find no station (unknown ids). */
  readonly unknownIdsRemaining: number
  /** The expected share of the answers served in the last five minutes that are still correct; null without answers. */
  readonly estimatedCorrectRatio: number | null
}

/** Values that are read at the moment of a scrape instead of counted from events. */
export interface Gauges {
  /** `clients`: the names of all clients, null if no key is required. `isLimited`: clients have limits. */
  access(): { readonly clients: readonly string[] | null; readonly isLimited: boolean }
  cache(): { readonly entries: number; readonly bytes: number }
  /** What waits, in bytes of memory, and its limit. */
  waiting(): { readonly bytes: number; readonly limitBytes: number }
  upstream(): {
    readonly inFlight: number
    readonly queued: number
    readonly circuit: CircuitState
    /** Null without a rate limit. */
    readonly callsPerSecond: number | null
  }
  /** Null without a quota. */
  quota(): { readonly limit: number; readonly remaining: number; readonly resetAtMs: number } | null
  /** What pacing expects; null without a quota. */
  pacing(): QuotaForecast | null
  /** CACHE_TTL; with a quota, the mean of the TTLs in force. In ms. */
  effectiveTtlMs(): number
  /** Open streams and long polls, how many may be open together, and the stations that are watched. */
  live(): Readonly<Record<StreamKind, number>> & { readonly maxStreams: number; readonly stations: number }
  /** Whether Redis is connected or the state directory works; null if neither is configured. */
  sharedCacheUp(): boolean | null
  /** Stations whose purge waits for the shared cache, or `all`. */
  pendingPurges(): number | 'all'
}
