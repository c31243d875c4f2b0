import type { ServiceError } from '../errors.ts'
import type { CacheResult } from '../events.ts'
import type { Answer } from './answer.ts'

/** What a lookup found, and how. */
export interface LookupResult {
  readonly answer: Answer
  readonly result: Exclude<CacheResult, 'error'>
  /** Since upstream answered. */
  readonly ageMs: number
  /** What is left of the fresh time; negative for an old answer. */
  readonly ttlMs: number
  /** Upstream was asked although an answer was held, for that had expired. */
  readonly wasExpired: boolean
  /** Whether the cache keeps the answer. */
  readonly isStored: boolean
  /** The error in whose place an old answer is served. */
  readonly staleReason: ServiceError | null
}
