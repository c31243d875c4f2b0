import type { Context } from './operation.ts'

/** A token in use later than this from now was written while the clock was ahead. */
const MAX_QUEUE_MS = 120_000
const KEY = 'tokens'

/** The uses that are stored have the numbers from `first` up to, not including, `next`. */
interface Uses {
  readonly first: number
  readonly next: number
}

/** The rules of LocalTokenBucket: the contract tests run on both. The wait in ms; no token was taken if it is too long. */
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
  const index = leave + (next - first) - count
  const reusable = index < 0 ? 0 : (db.tokens.get(first + index) ?? 0) + reuseMs
  const waitMs = Math.max(0, reusable - now)
  if (waitMs > maxWaitMs) return waitMs
  db.tokens.putSync(next, now + waitMs)
  next++
  for (; next - first > count; first++) db.tokens.removeSync(first)
  db.records.putSync(KEY, { first, next })
  return waitMs
}
