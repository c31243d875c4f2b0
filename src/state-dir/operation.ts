import type { Databases } from './databases.ts'

/** The number of the reply of the store thread to the opening of the file. */
export const OPENED = 0

/** Clocks read in different processes at the same time differ by less. A time further ahead is from before a change. */
export const MAX_AHEAD_MS = 1_000

/** A record with an end; times in ms since the epoch. */
export interface Timed {
  readonly at: number
  readonly until: number
}

/** A record that begins in the future is from before the clock was set back. */
export function isInForce({ at, until }: Timed, now: number): boolean {
  return until > now && at <= now + MAX_AHEAD_MS
}

/** What an operation works on. */
export interface Context {
  readonly db: Databases
  /** Ms since the epoch. */
  readonly now: number
  /** Maximum size of all answers on disk. */
  readonly answerBytes: number
}

/** An operation of the store. It is synchronous, and runs within a transaction. */
export type Operation = (context: Context, ...args: never[]) => unknown
