import { sweepLeases } from './answer-operations.ts'
import type { Context } from './operation.ts'
import { dropAll, sweepAnswers } from './use-order.ts'

const CLOCK = 'clock'
const SWEEP_AT_ONCE = 200
/** Where the next sweep of the leases continues. */
const SWEEP = 'sweep'

/**
 * Drops all answers if the clock is behind what it was: their ages are not known any more. Called regularly, so that it
 * is noticed.
 */
export function checkClock({ db, now }: Context): void {
  const latest = db.records.get(CLOCK)
  if (typeof latest === 'number' && now < latest) dropAll(db)
  db.records.putSync(CLOCK, now)
}

/** A write that shows that the store works, and removes some of what is over. */
export function maintain(context: Context): void {
  checkClock(context)
  const { db } = context
  const start = db.records.get(SWEEP)
  db.records.putSync(SWEEP, sweepLeases(context, typeof start === 'string' ? start : null, SWEEP_AT_ONCE))
  sweepAnswers(context, SWEEP_AT_ONCE)
}
