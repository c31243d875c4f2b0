import type { ErrorCode } from '../errors.ts'

/** An answer as replicas hand it to each other. */
export interface SharedAnswer {
  /** Differs from answer to answer. */
  readonly version: string
  /** The unfiltered answer as JSON text. */
  readonly json: string
  /** Since upstream answered, in ms. */
  readonly ageMs: number
  /** Since the call for it began, in ms. */
  readonly startedAgoMs: number
  /** The answer's part of the TTL, from 0 to 1: the same for all replicas, so that none refreshes for the others. */
  readonly jitter: number
}

/** What a replica finds that wants to call upstream for a station. */
export type LeaseResult =
  /** An answer other than the one it knows. */
  | { readonly kind: 'answer'; readonly answer: SharedAnswer }
  /** The lease is its own: it calls. What was there instead of an answer may have been none. */
  | { readonly kind: 'lease'; readonly overCorruptValue: boolean }
  /** Another replica holds the lease, and calls. */
  | { readonly kind: 'taken' }
  /** Another replica's call has failed, and none is made for so long. */
  | { readonly kind: 'setback'; readonly code: ErrorCode; readonly ms: number }
  /** Nothing can be known now. */
  | { readonly kind: 'failed' }

/** Replicas share answers and flights here. Nothing of it rejects, and none of it takes long. */
export interface SharedAnswerStore {
  readonly isUp: boolean
  /**
   * An answer whose token is not `known`, else a lease in the name of `token`, if it is to be had. Both in one step,
   * so that nobody calls who comes just after another's answer.
   */
  leaseGet(id: string, known: string, token: string, leaseMs: number): Promise<LeaseResult>
  /** Holds the lease for longer. */
  renew(id: string, token: string, leaseMs: number): void
  /** Shares the answer for so long, unless that of a later call is there, and ends the lease of the same token. */
  publish(id: string, answer: SharedAnswer, lifeMs: number): void
  /** Ends the lease; if the call failed in a way that sets the station back, others are told so for that long. */
  release(id: string, token: string, setback: { readonly code: ErrorCode; readonly ms: number }): void
}

/** A lease that is not renewed ends after this: its holder is gone or cut off. */
export const LEASE_MS = 1_500
export const RENEW_EVERY_MS = 500
