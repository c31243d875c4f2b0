import type { AnswerArchive, SharedAnswerStore } from './cache/shared-store.ts'
import type { CoolDownStore } from './upstream/state/shared-cool-down.ts'
import type { PacingStore } from './upstream/pacing/learned-pacing.ts'
import type { UnknownIdStore } from './upstream/pacing/unknown-id-allowance.ts'
import type { QuotaStore } from './upstream/state/quota-store.ts'
import type { TokenStore } from './upstream/state/shared-token-bucket.ts'

/**
 * All that replicas share. No store rejects, and none takes long: while it cannot be reached, each replica continues
 * with its own state.
 */
export interface SharedStores {
  readonly answers: SharedAnswerStore
  /** Null if the answers do not outlive the process, or are shared with other machines. */
  readonly archive: AnswerArchive | null
  readonly tokens: TokenStore
  readonly quota: QuotaStore
  readonly coolDowns: CoolDownStore
  readonly pacing: PacingStore
  readonly unknownIds: UnknownIdStore
  readonly isUp: () => boolean
  readonly close: () => void | Promise<void>
}
