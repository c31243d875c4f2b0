import { sweepLeases } from './answer-operations.ts'
import type { Context } from './operation.ts'
import { listProcess, processCount } from './process-list.ts'
import { sweepPurged } from './purge-operations.ts'
import { dropAll, sweepAnswers } from './use-order.ts'

const CLOCK = 'clock'
const SWEEP_AT_ONCE = 200
/** Where the next sweep of the leases continues. */
const SWEEP = 'sweep'

/** Whether the clock is behind what it was: then the ages of the answers are not known any more. */
export function isClockBehind({ db, now }: Context): boolean {
  const latest = db.records.get(CLOCK)
  return typeof latest === 'number' && now < latest
}

/** Drops all answers if the clock is behind what it was. Called regularly, so that it is noticed. */
export function checkClock(context: Context): void {
  const { db, now } = context
  if (isClockBehind(context)) dropAll(db)
  db.records.putSync(CLOCK, now)
}

/**
 * A write that shows that the store works, lists the process, and removes some of what is over.
 * @returns the number of processes that use the store
 */
export function maintain(context: Context, processName: string): number {
  checkClock(context)
  listProcess(context, processName)
  const { db } = context
  const start = db.records.get(SWEEP)
  db.records.putSync(SWEEP, sweepLeases(context, typeof start === 'string' ? start : null, SWEEP_AT_ONCE))
  sweepAnswers(context, SWEEP_AT_ONCE)
  sweepPurged(context, SWEEP_AT_ONCE)
  return processCount(context)
}
