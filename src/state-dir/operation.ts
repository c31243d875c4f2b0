import type { Databases } from './databases.ts'

/** What an operation works on. */
export interface Context {
  readonly db: Databases
  /** Ms since the epoch. */
  readonly now: number
  /** Maximum size of all answers on disk. */
  readonly answerBytes: number
}

/**
 * An operation of the store. `read` runs outside of a transaction; the result undefined means that `write` has to run,
 * within the transaction of a batch. Both are synchronous.
 */
export interface Operation {
  readonly read?: (context: Context, ...args: never[]) => unknown
  readonly write?: (context: Context, ...args: never[]) => unknown
}
