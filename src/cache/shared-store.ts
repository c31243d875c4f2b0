import type { ErrorCode } from '../errors.ts'
import type { StationState } from './entry-store.ts'

/** An answer as replicas exchange it. Durations instead of moments: monotonic clocks differ between replicas. */
export interface SharedAnswer {
  /**
   * Identifies this answer: the token of the call that brought it; after calls that brought empty answers instead, the
   * token of the last of them and their number (see empty-doubt.ts).
   */
  readonly version: string
  /** The unfiltered answer as JSON text. */
  readonly json: string
  /** Time since upstream answered, in ms. */
  readonly ageMs: number
  /** Time since the call began, in ms. */
  readonly startedAgoMs: number
  /** 0.9 to 1 (see ttlFactor). The same on all replicas, so that none refreshes before the others. */
  readonly jitter: number
  /** When the answer was first seen to differ from the one before it, in whole seconds since the epoch; 0 if never. */
  readonly changedAt: number
  /** What pacing knows of the station; absent if that is nothing. */
  readonly station?: StationState
}

/** A station in use, the version of its answer, and what pacing knows of it; null if that is nothing. */
export interface StationUse {
  readonly id: string
  readonly version: string
  readonly station: StationState | null
}

/** The reply to a replica that is about to call upstream for a station. */
export type LeaseResult =
  /** An answer with a version other than the known one. */
  | { readonly kind: 'answer'; readonly answer: SharedAnswer }
  /** The replica has the lease and makes the call. `overCorruptValue`: the stored value was not an answer. */
  | { readonly kind: 'lease'; readonly overCorruptValue: boolean }
  /** Neither an answer nor a lease of another replica, and none was asked for. */
  | { readonly kind: 'none' }
  /** Another replica has the lease and its call is in flight. */
  | { readonly kind: 'leased-by-peer' }
  /** Another replica's call failed with this code; for `ms` more no call is made. */
  | { readonly kind: 'error'; readonly code: ErrorCode; readonly ms: number }
  /** The store cannot be reached. */
  | { readonly kind: 'unavailable' }

/** A lease to acquire; without a token none is acquired, and nothing is written. */
export type WantedLease = Lease | { readonly token: null; readonly ms: number }

/** The right to call for a station. It ends `ms` after it was acquired or last renewed. */
export interface Lease {
  /** The holder: one call of one replica. */
  readonly token: string
  readonly ms: number
}

/**
 * Answers and leases that replicas share. No method rejects, and each has a short timeout of its own: without the store a
 * replica makes its own calls. test/redis/shared-cache.test.ts is the contract suite for every implementation.
 */
export interface SharedAnswerStore {
  readonly isUp: boolean
  /**
   * An answer whose version is not `known`, else the lease if no other replica has it. Atomic: otherwise a replica could
   * acquire the lease right after another published the answer.
   */
  leaseGet(id: string, known: string, lease: WantedLease): Promise<LeaseResult>
  /** Extends the lease to its full duration again, if this token still holds it. */
  renew(id: string, lease: Lease): void
  /**
   * Stores the answer for `lifeMs` unless that is 0 or one of a later call is present, and ends the lease of the same token.
   */
  publish(id: string, answer: SharedAnswer, lifeMs: number): void
  /** Ends the lease after a failed call; other replicas get the error for `ms`, which may be 0. */
  release(id: string, token: string, error: { readonly code: ErrorCode; readonly ms: number }): void
  /**
   * Drops a station's answer and lease. An answer of a call that began before, on any replica, is not stored afterwards.
   * False if the store could not be reached and may still have the answer.
   */
  purge(id: string): Promise<boolean>
  /** Like `purge`, for all stations. */
  purgeAll(): Promise<boolean>
  /** Notes that these stations were used, and what pacing knows of them by now. */
  noteUses?(uses: readonly StationUse[]): Promise<void>
  /** Calls the listener for every answer that a replica publishes, this one included. Absent: replicas only ask. */
  onPublished?(listener: (id: string, version: string) => void): void
  /** Calls the listener for every purge by another replica, soon: with the station, or with null for all stations. */
  onPurged?(listener: (id: string | null) => void): void
}

/** A station whose answer is in the archive. */
export interface UsedAnswer {
  readonly id: string
  /** When it was last used, in ms since the epoch. */
  readonly usedAtMs: number
  /** Size of the stored answer. */
  readonly bytes: number
}

/** Answers that outlive the process. Nothing here rejects; a store that cannot be reached has none. */
export interface AnswerArchive {
  /** The stations in portions, the most recently used first. */
  recent(): AsyncIterable<readonly UsedAnswer[]>
  /** The answers of these stations that are not expired. */
  read(ids: readonly string[]): Promise<readonly (readonly [id: string, answer: SharedAnswer])[]>
}
