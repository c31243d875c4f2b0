import type { GateReply } from '../upstream/state/shared-send-gate.ts'
import type { Context } from './operation.ts'
import { MAX_AHEAD_MS } from './operation.ts'

/** A token in use later than this from now was written while the clock was ahead. */
const MAX_QUEUE_MS = 120_000
const KEY = 'tokens'
const SWEEP_AT_ONCE = 10

/** The uses that are stored have the numbers from `first` up to, not including, `next`. */
interface Uses {
  readonly first: number
  readonly next: number
}

/** The rules of LocalTokenBucket: the contract tests run on all. No token is taken if the wait is too long. */
export function takeToken(
  { db, now }: Context,
  count: number,
  reuseMs: number,
  leave: number,
  maxWaitMs: number,
): number {
  let { first, next } = (db.records.get(KEY) as Uses | undefined) ?? { first: 0, next: 0 }
  const last = db.tokens.get(next - 1) ?? 0
  if (last > now + MAX_QUEUE_MS) {
    db.tokens.clearSync()
    first = next
  }
  const reusable = (db.tokens.get(next - count + leave) ?? 0) + reuseMs
  const waitMs = Math.max(0, reusable - now)
  if (waitMs > maxWaitMs) return waitMs
  db.tokens.putSync(next, now + waitMs)
  next++
  for (; next - first > count; first++) db.tokens.removeSync(first)
  db.records.putSync(KEY, { first, next })
  return waitMs
}

const SENT_KEY = 'sent'

/**
 * The number of a call that may be sent now, or the ms until one may. Tokens are planned; this is the last check, on
 * what was really sent.
 */
export function passGate({ db, now }: Context, count: number, reuseMs: number): GateReply {
  const stored = db.records.get(SENT_KEY)
  const number = typeof stored === 'number' ? stored : 0
  const before = db.sent.get(number - count)
  const waitMs = before === undefined || before > now + MAX_AHEAD_MS ? 0 : Math.max(0, before + reuseMs - now)
  if (waitMs > 0) return { number, waitMs }
  db.sent.putSync(number, now)
  db.records.putSync(SENT_KEY, number + 1)
  for (const old of Array.from(db.sent.getKeys({ end: number - 2 * count, limit: SWEEP_AT_ONCE })))
    db.sent.removeSync(old)
  return { number, waitMs: 0 }
}

/** The call with this number has arrived at upstream. */
export function callArrived({ db, now }: Context, number: number): void {
  const sentAt = db.sent.get(number)
  if (sentAt !== undefined && sentAt < now) db.sent.putSync(number, now)
}
